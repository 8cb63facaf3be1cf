"""Renders the templates of `cloud-init/`: data enters as JSON, never as text that could become syntax."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, Template
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from imagesmith.errors import UsageError
from imagesmith.model import Materials

_SURROGATES = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})")


class Json(str):
    """Text that has been through `to_json` and may be put into a document."""


def to_json(value: object) -> Json:
    """A value as JSON that YAML reads alike: ASCII, and characters beyond the BMP as YAML's \\U escape."""
    if isinstance(value, StrictUndefined):
        str(value)  # raises, with the name
    return Json(_SURROGATES.sub(_one_escape, json.dumps(value, ensure_ascii=True)))


def render(materials: Materials, name: str, values: Mapping[str, object]) -> bytes:
    """The template `name` (a key of the materials) with `values` filled in.

    Raises UsageError naming the template when it is missing, uses a value that is not given, or puts one in raw.
    """
    text = materials.files.get(name)
    if text is None:
        raise UsageError(f"the template {name} is missing", hint="reinstall imagesmith")
    try:
        return _template(text).render(values).encode()
    except TemplateError as error:
        raise UsageError(f"can't be rendered: {error}", where=name, hint="mend the template") from error


@functools.lru_cache(maxsize=32)
def _template(text: bytes) -> Template:
    """Kept, since every node of an inventory is rendered from the same few."""
    return _environment().from_string(text.decode())


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=_only_json,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["json"] = to_json
    return environment


def _only_json(value: Any) -> Any:
    # StrictUndefined complains for itself, and by name, when it is turned into text.
    if isinstance(value, Json | StrictUndefined):
        return value
    raise SecurityError(f"{value!r} is put in raw; write {{{{ ... | json }}}}")


def _one_escape(match: re.Match[str]) -> str:
    high, low = int(match[1], 16), int(match[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"
