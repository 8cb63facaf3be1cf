"""Reads the catalogue of add-ons, profiles/addons/: what each runs, needs and keeps.

Pure: `workflow.target` reads the files and calls `load_recipes`. A file's name is the add-on's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from imagesmith.errors import Problem
from imagesmith.model.addons import Beside, Files, Recipe, RecipePart, Rule, Share, Volume
from imagesmith.profile import names
from imagesmith.profile.document import Value
from imagesmith.profile.schema import (
    Fields,
    Kind,
    Place,
    boolean,
    choice,
    did_you_mean,
    integer,
    listed,
    mapping,
    one_of,
    parsed,
    read_document,
    settle,
    table,
    text,
)
from imagesmith.profile.schema import size as in_bytes

DATABASE = "database"
"""What a site's own database is called, as a part and as a host."""
BESIDES = ("backup", "power")
"""Keys of an inventory that files of a recipe may be there for."""
ASKS = ("clients", "release", "host")
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
_ANY_NUMBER = 2**31 - 1


def load_recipes(documents: Mapping[str, str], files: Mapping[str, str]) -> dict[str, Recipe]:
    """The catalogue, by name: `documents` are its files by path, `files` what they name. Raises DocumentInvalid."""
    problems: list[Problem] = []
    found: dict[str, tuple[Fields, Recipe, str]] = {}
    for path, content in documents.items():
        name = PurePosixPath(path).stem
        read = read_document(content, path, lambda fields, name=name: _recipe(fields, name, files), problems)  # type: ignore[misc]
        if read:
            found[name] = read
    recipes = {name: _with_database(fields, recipe, base, found) for name, (fields, recipe, base) in found.items()}
    for name, (fields, _, _) in found.items():
        light = fields.take("light", text(names.profile_name), "")
        if light and light not in recipes:
            fields.complain("light", f"there is no recipe {light!r}{did_you_mean(light, recipes)}")
        elif light:
            recipes[name] = replace(recipes[name], light=recipes[light])
    return settle(recipes, problems)


def _recipe(fields: Fields, name: str, files: Mapping[str, str]) -> tuple[Fields, Recipe, str]:
    database = fields.take("database", text(names.profile_name), "")
    fields.take("light", text(names.profile_name), "")
    recipe = Recipe(
        name=names.profile_name(name),
        title=fields.need("title", text(names.title), ""),
        survives=fields.need("survives", text(_prose), ""),
        parts=fields.need_all("parts", table(lambda inner: _part(inner, files))),
        asks=fields.take_all("asks", choice(*ASKS)),
        accounts=fields.take("accounts", mapping(names.profile_name, text(names.profile_name)), {}),
        notes=fields.take_all("notes", text(_prose)),
        listed=fields.take("listed", boolean, True),
    )
    return fields, recipe, database


def _with_database(
    fields: Fields, recipe: Recipe, base: str, found: Mapping[str, tuple[Fields, Recipe, str]]
) -> Recipe:
    """The recipe with a database of its own, as the recipe `base` has it."""
    if not base:
        return recipe
    if base not in found:
        fields.complain("database", f"there is no recipe {base!r}{did_you_mean(base, found)}")
        return recipe
    own = found[base][1].parts[0]
    part = replace(
        own,
        name=DATABASE,
        environment={**own.environment, **own.as_database},
        passwords={**own.passwords, **own.as_database_passwords},
    )
    return replace(recipe, parts=(*recipe.parts, part))


def _part(fields: Fields, files: Mapping[str, str]) -> RecipePart:
    file = parsed(lambda name: _content(name, files))
    return RecipePart(
        name=fields.need("name", text(names.profile_name), ""),
        keeping=fields.take("keeping", choice("deployment", "stateful", "everywhere"), "deployment"),
        image=fields.need("image", text(image_name), ""),
        version=fields.need("version", text(image_tag), ""),
        share=_share(fields),
        port=fields.take("port", integer(1, 65535), 0),
        health=fields.take("health", text(_path), ""),
        user=fields.take("user", integer(1, _ANY_NUMBER), 0),
        capabilities=fields.take_all("capabilities", choice(*_CAPABILITIES)),
        read_only=fields.take("read_only", boolean, False),
        scratch=fields.take_all("scratch", text(_path)),
        args=fields.take_all("args", text()),
        environment=fields.take("environment", mapping(_variable, text()), {}),
        passwords=fields.take("passwords", mapping(_variable, text(names.profile_name)), {}),
        volumes=fields.take_all("volumes", table(_volume)),
        host_folders=fields.take("host_folders", mapping(_path, text(_path)), {}),
        files=fields.take_all("files", table(lambda inner: _files(inner, files))),
        before=fields.take_all("before", table(lambda inner: _beside(inner, file))),
        beside=fields.take_all("beside", table(lambda inner: _beside(inner, file))),
        dump=fields.take("dump", file, ""),
        architectures=fields.take_all("architectures", choice("amd64", "arm64")) or ("amd64", "arm64"),
        because=fields.take("because", text(_prose), ""),
        rules=fields.take_all("rules", table(_rule)),
        reaches=fields.take_all("reaches", text(names.profile_name)),
        site=fields.take("site", boolean, False),
        several=fields.take("several", boolean, False),
        page=fields.take("page", table(lambda inner: _files(inner, files)), None),
        as_database=fields.take("as_database", mapping(_variable, text()), {}),
        as_database_passwords=fields.take("as_database_passwords", mapping(_variable, text(names.profile_name)), {}),
    )


def _share(fields: Fields) -> Share:
    memory = fields.need("memory", _pair(in_bytes), (0, 0))
    cpu = fields.need("cpu", _pair(integer(1, 64_000)), (0, 0))
    return Share(*memory, *cpu)


def _pair(kind: Kind[int]) -> Kind[tuple[int, int]]:
    """What is asked for, and what may be taken at most."""

    def read(value: Value, place: Place) -> tuple[int, int] | None:
        found = listed(kind)(value, place)
        if found is not None and (len(found) != 2 or found[0] > found[1]):
            place.complain(value.line, "write what is asked for and the most that is given, like [64MiB, 256MiB]")
            return None
        return (found[0], found[1]) if found else None

    return read


def _volume(fields: Fields) -> Volume:
    return Volume(
        name=fields.need("name", text(names.profile_name), ""),
        path=fields.need("path", text(_path), ""),
        size=fields.need("size", in_bytes, 0),
        holds=fields.need("holds", text(names.title), ""),
        optional=fields.take("optional", boolean, False),
        told_as=fields.take("told_as", text(_variable), ""),
    )


def _files(fields: Fields, files: Mapping[str, str]) -> Files:
    def named(name: str) -> tuple[str, str]:
        return PurePosixPath(name).name, _content(name, files)

    found = fields.need_all("from", parsed(named))
    alone, where = fields.take("alone", boolean, False), fields.take("where", choice(*BESIDES), "")
    return Files(fields.need("path", text(_path), ""), dict(found), alone, where)


def _beside(fields: Fields, file: Kind[str]) -> Beside:
    return Beside(
        name=fields.need("name", text(names.profile_name), ""),
        script=fields.need("script", file, ""),
        share=_share(fields),
        user=fields.take("user", integer(1, _ANY_NUMBER), 0),
    )


def _rule(fields: Fields) -> Rule:
    return Rule(
        groups=fields.need_all("groups", text()),
        resources=fields.need_all("resources", text()),
        verbs=fields.need_all("verbs", text(one_of("get", "list", "watch", "create", "update", "patch", "delete"))),
    )


def _content(name: str, files: Mapping[str, str]) -> str:
    if name not in files:
        raise ValueError(f"there is no file {name[:80]!r} in the folder files{did_you_mean(name, files)}")
    return files[name]


def _variable(written: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", written):
        raise ValueError(f"{written[:60]!r} is not a variable's name; write it like DB_HOST")
    return written


def _path(written: str) -> str:
    if not re.fullmatch(r"/|(/[A-Za-z0-9._-]+)+|/-/[a-z]+", written) or ".." in written.split("/"):
        raise ValueError(f"{written[:80]!r} is not a path from / on")
    return written


def _prose(written: str) -> str:
    if not written.strip() or not written.isprintable() or len(written) > 500:
        raise ValueError("write plain text here, 500 characters at most")
    return written.strip()


def image_name(written: str) -> str:
    """A container image's name without its tag, registry first."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+", written):
        raise ValueError(f"{written[:80]!r} is not the name of a container image; write it as registry/folder/name")
    return written


def image_tag(written: str) -> str:
    """A tag, and a digest where there is one; none that moves with every release."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?", written) or written == "latest":
        raise ValueError(f"{written[:80]!r} is not the tag of one version of a container image; write it as v1.1.2")
    return written
