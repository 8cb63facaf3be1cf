"""kubectl's `-o jsonpath=`, as far as scripts on nodes use it: keys, numbers, every item, and one comparison."""

from __future__ import annotations

import json
import re
from typing import Any

from .words import Fatal

_STEP = re.compile(
    r"""\.(?P<key>(?:\\.|[^.\[\]{}\\])+)
      | \[\?\(@\.(?P<field>[\w.-]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]
      | \[(?P<index>-?\d+)\]
      | (?P<every>\[\*\])""",
    re.VERBOSE,
)
_ESCAPES = {r"\n": "\n", r"\t": "\t"}


def rendered(template: str, document: Any) -> str:
    """Text outside of braces as it is, paths in braces as what they find; `Fatal` for what is not understood."""
    parts = re.split(r"\{([^{}]*)\}", template)
    return "".join(_found(part, document) if at % 2 else part for at, part in enumerate(parts))


def _found(path: str, document: Any) -> str:
    if re.fullmatch(r"\"[^\"]*\"|'[^']*'", path):
        return re.sub(r"\\[nt]", lambda match: _ESCAPES[match[0]], path[1:-1])
    found, at = [document], 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise Fatal(f"error: the stand-in's kubectl does not understand jsonpath {path!r}")
        found = [result for value in found for result in _taken(step, value)]
        at = step.end()
    return " ".join(value if isinstance(value, str) else json.dumps(value) for value in found)


def _taken(step: re.Match[str], value: Any) -> list[Any]:
    if step["key"] is not None:
        key = re.sub(r"\\(.)", r"\1", step["key"])
        return [value[key]] if isinstance(value, dict) and key in value else []
    if not isinstance(value, list):
        return []
    if step["every"]:
        return value
    if step["index"] is not None:
        return value[int(step["index"]) :][:1]
    return [item for item in value if isinstance(item, dict) and str(item.get(step["field"])) == step["value"]]
