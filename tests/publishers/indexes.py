"""The indexes in which publishers tell what is newest: each made of a `Release` that lies on a server.

A function for each publisher gives the index's bytes; where it is put is the test's choice.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from publishers.houses import Release
from publishers.server import Server

OS_LIST = "/os_list_imagingutility_v4.json"
BOARD = "/api/v1/boards/bananapim5/images"
NAME = "Raspberry Pi OS Lite (64-bit)"


def os_entry(server: Server, release: Release, raw: bytes, **more: Any) -> dict[str, Any]:
    """A leaf of Raspberry Pi's os_list; what is None is left out."""
    packed = release.files[release.image]
    entry = {
        "name": NAME,
        "description": "A port of Debian with no desktop environment",
        "icon": "icons/lite.png",
        "url": server.url(release.image),
        "extract_size": len(raw),
        "extract_sha256": hashlib.sha256(raw).hexdigest(),
        "image_download_size": len(packed),
        "release_date": "2026-10-06",
        "init_format": "cloudinit-rpi",
        "devices": ["pi4-64bit", "pi3-64bit"],
        "tomorrow": {"a field": "that nobody knows yet"},
        **more,
    }
    return {key: value for key, value in entry.items() if value is not None}


def os_list(*entries: dict[str, Any]) -> bytes:
    """The catalogue: a category with others before it, and the entries in one that lies deeper."""
    desktop = {"name": "Raspberry Pi OS (64-bit)", "url": "https://example.org/desktop.img.xz", "icon": "x"}
    deeper = {"name": "Raspberry Pi OS (other)", "subitems": [{"name": "Lite", "subitems": list(entries)}]}
    others = {"name": "Other", "subitems_url": "https://example.org/os_list_others.json"}
    return json.dumps({"imager": {"latest_version": "2.0"}, "os_list": [desktop, others, deeper]}).encode()


def armbian_entry(server: Server, release: Release, **more: Any) -> dict[str, Any]:
    """One image in the API's list of a board."""
    download = {
        "file_url": server.url(release.address),
        "direct_url": server.url(release.image),
        "sha_url": server.url(release.address + ".sha"),
        "asc_url": server.url(release.address + ".asc"),
        "torrent_url": None,
        "size_bytes": len(release.files[release.image]),
        "updated_at": "2026-10-01T08:15:00Z",
    }
    return {
        "board_slug": "bananapim5",
        "variant": "minimal",
        "distribution": "debian",
        "release": "trixie",
        "kernel_branch": "current",
        "kernel_version": "6.18.42",
        "stability": "stable",
        "format": "sd",
        "promoted": True,
        "download": download,
        **more,
    }


def armbian_list(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"data": list(entries), "meta": {"total": len(entries)}}).encode()


def build_info(serial: str) -> bytes:
    """`unpacked/build-info.txt` of an Ubuntu folder."""
    return f"serial={serial}\norig_prefix=noble-server-cloudimg\nsuite=noble\nbuild_name=server\n".encode()


def debian_description(serial: str) -> bytes:
    """What lies beside a Debian image as `.json`."""
    labels = {"cloud.debian.org/version": serial, "debian.org/arch": "amd64", "debian.org/release": "trixie"}
    build = {"apiVersion": "v1alpha1", "kind": "Build", "metadata": {"labels": labels}, "data": {"info": {}}}
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [build, {"kind": "Upload"}]}).encode()
