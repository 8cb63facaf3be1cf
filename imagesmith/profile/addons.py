"""Reads `addons:`, `storage:`, `charts:` and `manifests:` of an inventory: what runs on its cluster.

Called by `profile.cluster`; whether the nodes can bear it is checked by `addons_checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from imagesmith.model import UpsDriver
from imagesmith.model.addons import Addon, Addons, Chart, NfsStorage, Recipe, Release
from imagesmith.profile import names
from imagesmith.profile.document import Listing, Scalar, Table, Value
from imagesmith.profile.manifest import manifest_in
from imagesmith.profile.recipe import BESIDES
from imagesmith.profile.schema import (
    Fields,
    Kind,
    Place,
    boolean,
    choice,
    did_you_mean,
    integer,
    listed,
    size,
    table,
    text,
)

T = TypeVar("T")
LOCAL = "local"
PROVISIONER = "nfs"
"""The recipe of what makes folders on a NAS."""
KEYS = ("addons", "storage", "charts", "manifests")
"""Of an inventory's top."""
_MOST_REPLICAS = 20


def _nothing_there(path: str) -> bytes:
    raise FileNotFoundError(path)


@dataclass(frozen=True, slots=True)
class Around:
    """What an inventory may name beside profiles: recipes of the catalogue, drivers of UPSes, files beside it."""

    recipes: Callable[[], Mapping[str, Recipe]] = dict
    """Asked where an inventory wants something of them. Raises DocumentInvalid."""
    read: Callable[[str], bytes] = _nothing_there
    """A file beside the inventory, by the path written there. Raises OSError."""
    drivers: Callable[[], Mapping[str, UpsDriver]] = dict
    """Those of UPSes that are known, by name."""


def read_addons(fields: Fields, around: Around) -> tuple[Addons | None, dict[str, Fields]]:
    """What the four keys say, None where there is none of them; and their tables, each add-on's as `addons.NAME`."""
    if not any(fields.has(key) for key in KEYS):
        for key in KEYS:
            fields.take(key, text(), "")
        return None, {}
    recipes = around.recipes() if fields.has("addons") or fields.has("storage") else {}
    storage = fields.take("storage", _named(names.profile_name, _storage), ({}, {}))[0]
    wanted, tables = fields.take("addons", _named(lambda name: _known(name, recipes), _addon(recipes)), ({}, {}))
    besides = tuple(key for key in BESIDES if fields.has(key))
    found = Addons(
        wanted=tuple(replace(addon, besides=besides) for addon in wanted.values()),
        storage=tuple(storage.values()),
        provisioner=recipes.get(PROVISIONER) if storage else None,
        charts=fields.take("charts", listed(table(_chart)), ()),
        manifests=fields.take("manifests", listed(lambda value, place: manifest_in(value, place, around.read)), ()),
    )
    _check_hosts(found, tables)
    _check_storage(found, tables)
    _check_names(fields, found)
    return found, {f"addons.{name}": inner for name, inner in tables.items()}


# -- add-ons --------------------------------------------------------------------------------------


def _known(name: str, recipes: Mapping[str, Recipe]) -> str:
    listing = sorted(one for one, recipe in recipes.items() if recipe.listed)
    if name not in listing:
        raise ValueError(
            f"there is no add-on {name[:60]!r}{did_you_mean(name, listing)} (there is: {', '.join(listing)})"
        )
    return name


def _addon(recipes: Mapping[str, Recipe]) -> Callable[[str, Fields], Addon]:
    def read(name: str, fields: Fields) -> Addon:
        recipe = recipes[name]
        if recipe.light and fields.take("light", boolean, False):
            recipe = replace(recipe.light, name=name)
        addon = Addon(name, recipe)
        if recipe.site:
            take = fields.need if "host" in recipe.asks else fields.take
            addon = replace(addon, host=take("host", text(_host), ""))
        if recipe.site and recipe.site.several:
            addon = replace(addon, replicas=fields.take("replicas", integer(1, _MOST_REPLICAS), 1))
        if any(part.volumes for part in recipe.parts):
            addon = replace(addon, storage=fields.take("storage", text(names.profile_name), ""))
            addon = replace(addon, size=fields.take("size", size, 0))
        if "clients" in recipe.asks:
            addon = replace(addon, clients=fields.take_all("clients", text(names.host_name)))
        if "release" in recipe.asks:
            addon = replace(addon, release=fields.need("release", table(_release), None))
        return addon

    return read


def _release(fields: Fields) -> Release:
    return Release(fields.need("url", text(names.https_url), ""), fields.need("sha256", text(_sha256), ""))


def _storage(name: str, fields: Fields) -> NfsStorage:
    if name in (LOCAL, "local-path"):
        fields.place.complain(fields.line, f"{name!r} is the nodes' own disks; choose another name, like nas")
    server, path = fields.need("nfs", _pair, ("", ""))
    return NfsStorage(name, server, path, fields.take("version", choice("3", "4", "4.1", "4.2"), ""))


def _chart(fields: Fields) -> Chart:
    name = fields.need("name", text(_chart_name), "")
    chart = Chart(
        name=name,
        chart=fields.need("chart", text(_chart_source), ""),
        version=fields.need("version", text(_chart_version), ""),
        repo=fields.take("repo", text(names.https_url), ""),
        namespace=fields.take("namespace", text(names.host_name), name),
        values=fields.take("values", plain_table, {}),
    )
    if chart.chart and "://" in chart.chart and chart.repo:
        fields.complain("repo", "`chart` is an address already, which `repo` would be for a mere name", "keep one")
    if chart.chart and "://" not in chart.chart and not fields.has("repo"):
        fields.complain("chart", "nobody knows where this chart is", "add its `repo`, or write oci://... here")
    return chart


# -- what takes several of them to see ------------------------------------------------------------


def _check_hosts(found: Addons, tables: Mapping[str, Fields]) -> None:
    first: dict[str, str] = {}
    for addon in found.wanted:
        if addon.host and (other := first.setdefault(addon.host, addon.name)) != addon.name:
            lines = f"lines {tables[other].line_of('host')} and {tables[addon.name].line_of('host')}"
            message = f"two add-ons are to be {addon.host}: {other} and {addon.name}, {lines}"
            tables[addon.name].complain("host", message, "give each a name of its own")


def _check_storage(found: Addons, tables: Mapping[str, Fields]) -> None:
    known = [one.name for one in found.storage]
    for addon in found.wanted:
        fields, part = tables[addon.name], addon.recipe.site
        if addon.storage not in ("", LOCAL, *known):
            near = did_you_mean(addon.storage, [LOCAL, *known])
            hint = f"say at the inventory's top what it is: storage: {{{addon.storage}: {{nfs: nas.home.arpa:/rack}}}}"
            fields.complain("storage", f"there is no storage {addon.storage!r}{near}", hint)
        if addon.size and not addon.storage and part and all(volume.optional for volume in part.volumes):
            fields.complain("size", "without `storage` it has no volume", "add `storage: local`, or take this away")
        is_local = addon.storage == LOCAL or (not addon.storage and part and any(not v.optional for v in part.volumes))
        if addon.replicas > 1 and is_local:
            message = "a local volume is on one node, and all replicas would have to be there with it"
            fields.complain("replicas", message, "one replica, or a storage on a NAS")


def _check_names(fields: Fields, found: Addons) -> None:
    """k3s keeps charts and files by their names, and each add-on has its namespace to itself."""
    addons = {addon.name for addon in found.wanted}
    for kind, listing in (("charts", [chart.name for chart in found.charts]),
                          ("manifests", [one.name for one in found.manifests])):  # fmt: skip
        for name in sorted({name for name in listing if listing.count(name) > 1}):
            fields.complain(kind, f"two of them are called {name}", "give each a name of its own")
    for chart in found.charts:
        if chart.namespace in addons:
            message = f"the chart {chart.name} goes into the namespace {chart.namespace}, which is the add-on's alone"
            fields.complain("charts", message, "give it another `namespace`")


# -- shapes ---------------------------------------------------------------------------------------


def _named(
    check: Callable[[str], str], reader: Callable[[str, Fields], T]
) -> Kind[tuple[dict[str, T], dict[str, Fields]]]:
    """A table of names with a table each, which are kept for complaints; nothing behind a name is an empty one."""

    def read(value: Value, place: Place) -> tuple[dict[str, T], dict[str, Fields]] | None:
        if not isinstance(value, Table):
            place.complain(value.line, "expected names, each with a table", "write `nginx: {}` lines")
            return None
        found: dict[str, T] = {}
        tables: dict[str, Fields] = {}
        for key, child in value.entries:
            inner = place.at(f"{place.path}.{key.text[:60]}")
            try:
                name = check(key.text)
            except ValueError as error:
                inner.complain(key.line, str(error))
                continue
            if isinstance(child, Scalar) and child.is_null:
                child = Table((), key.line)
            kept: list[Fields] = []

            def taken(fields: Fields, name: str = name, kept: list[Fields] = kept) -> T:
                kept.append(fields)
                return reader(name, fields)

            made = table(taken)(child, inner)
            if made is not None:
                found[name], tables[name] = made, kept[0]
        return found, tables

    return read


def _host(written: str) -> str:
    """As a browser has it."""
    if re.fullmatch(r"[0-9.]+|.*:.*", written):
        raise ValueError(f"{written[:60]!r} is not a host name; an Ingress goes by names, like blog.home.arpa")
    return names.domain(written)


def _nfs(written: str) -> tuple[str, str]:
    server, colon, path = written.partition(":/")
    if not colon or not re.fullmatch(r"[A-Za-z0-9._/-]*", path) or ".." in path.split("/"):
        raise ValueError(f"{written[:80]!r} is not a folder on a NAS; write it like nas.home.arpa:/export/rack")
    return names.host_or_address(server), f"/{path}".rstrip("/") or "/"


def _pair(value: Value, place: Place) -> tuple[str, str] | None:
    if not isinstance(value, Scalar):
        place.complain(value.line, "expected a folder on a NAS", "write it like nas.home.arpa:/export/rack")
        return None
    try:
        return _nfs(value.text)
    except ValueError as error:
        place.complain(value.line, str(error))
        return None


def _sha256(written: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", written):
        raise ValueError("this is not a SHA-256 digest: 64 hex digits in lower case, as sha256sum prints it")
    return written


def _chart_name(written: str) -> str:
    if len(names.host_name(written)) > 53:
        raise ValueError("Helm takes 53 characters at most for a release's name")
    return written


def _chart_source(written: str) -> str:
    if not re.fullmatch(r"(oci|https)://[A-Za-z0-9._:/~%+-]+|[a-z0-9][a-z0-9.-]*", written):
        raise ValueError(f"{written[:80]!r} is not a chart; write its name in `repo`, or oci://registry/folder/name")
    if "bitnami" in written:
        raise ValueError("Bitnami's charts name images that are no longer published; take another")
    return written


def _chart_version(written: str) -> str:
    if not re.fullmatch(r"v?[0-9]+\.[0-9]+\.[0-9]+([.+-][0-9A-Za-z.+-]*)?", written):
        raise ValueError(f"{written[:60]!r} is not one version of a chart; write all of it, like 88.1.0")
    return written


def plain_table(value: Value, place: Place) -> dict[str, object] | None:
    """A table of anything, as YAML 1.2 means it: `yes` is text, `true` is not."""
    if not isinstance(value, Table):
        place.complain(value.line, "expected keys and values", "write `key: value` lines")
        return None
    return {key.text: _plain(child) for key, child in value.entries}


def _plain(value: Value) -> object:
    if isinstance(value, Table):
        return {key.text: _plain(child) for key, child in value.entries}
    if isinstance(value, Listing):
        return [_plain(child) for child in value.items]
    if not value.plain:
        return value.text
    if value.is_null:
        return None
    if value.text.lower() in ("true", "false"):
        return value.text.lower() == "true"
    if re.fullmatch(r"-?(0|[1-9][0-9]*)", value.text):
        return int(value.text)
    if re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][+-]?[0-9]+)?", value.text):
        return float(value.text)
    return value.text
