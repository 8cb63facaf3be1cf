"""Archives of single packages that no system's own archive has, laid beside those of an image. Called by `supplies`,
which says what is wanted, and by `resolving`, which has apt asked.

Apt is told that such an archive is good for its one package and for no other, whatever it offers; and that it is signed
by the keys whose fingerprints profiles/packages has. Keys are fetched once, see docs/adr/0008-keys-by-fingerprint.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from imagesmith import resources
from imagesmith.errors import ContentMalformed
from imagesmith.events import Listener
from imagesmith.formats.apt_sources import AptSource, encode
from imagesmith.model import PackageArchive, Signature
from imagesmith.profile.archive import load_archive
from imagesmith.sources.apt import sources_of
from imagesmith.sources.cache import Cache
from imagesmith.sources.disk import failures
from imagesmith.sources.fetch import PATIENT
from imagesmith.sources.keys import Keys

OS_RELEASE = "/etc/os-release"
_FOLDER = "packages"


def archive_of(package: str, inventory: str) -> PackageArchive | None:
    """Where a package is published, if not by the systems themselves: as profiles/packages beside the inventory has it,
    else as imagesmith's own has. Raises DocumentInvalid, IOFailed."""
    name = f"{package}.yaml"
    for folder in (Path(inventory).parent / "profiles" / _FOLDER, resources.folder("profiles") / _FOLDER):
        path = folder / name
        if path.is_file():
            with failures(path, "reading"):
                return load_archive(path.read_text("utf-8"), str(path))
    return None


def archives_of(packages: Iterable[str], inventory: str) -> tuple[PackageArchive, ...]:
    """Those of the packages that have one. Raises what `archive_of` does."""
    found = (archive_of(package, inventory) for package in packages)
    return tuple(one for one in found if one and one.url)


def beside(
    files: Mapping[str, bytes], archives: Iterable[PackageArchive], cache: Cache, listener: Listener
) -> dict[str, bytes]:
    """What apt is to read as well, by path as in an image, for these archives. Raises what `Keys.ring` does, and
    ContentMalformed for a system that does not say what it is, or whose own archive is at the same host."""
    keys = Keys(lambda: resources.folder("keyrings"), cache, PATIENT, listener)
    made: dict[str, bytes] = {}
    for archive in archives:
        url, suite = archive.named(codename(files))
        _refuse_host_of_system(files, archive.package, url)
        name = f"imagesmith-{archive.package}"
        ring = f"/usr/share/keyrings/{name}.gpg"
        signature = Signature(url, "file", archive.fingerprints, f"{archive.package}.gpg", archive.key_url)
        made[ring] = keys.ring(signature, url).read_bytes()
        source = AptSource((url,), (suite,), archive.components, signed_by=(ring,))
        made[f"/etc/apt/sources.list.d/{name}.sources"] = encode(source).encode()
        made[f"/etc/apt/preferences.d/{name}"] = _for_one(archive.package, urlsplit(url).hostname or "").encode()
    return made


def codename(files: Mapping[str, bytes]) -> str:
    """What a system calls its release."""
    text = files.get(OS_RELEASE, b"").decode("utf-8", "replace")
    found = re.search(r'(?m)^VERSION_CODENAME="?([A-Za-z0-9._-]+)"?$', text)
    if not found:
        raise ContentMalformed(
            "does not say which release this system is, so nobody can tell which packages fit it", where=OS_RELEASE,
            hint="give the package as a file, `vpn: {zerotier: {file: ...}}`, or use another base",
        )  # fmt: skip
    return found[1]


def _refuse_host_of_system(files: Mapping[str, bytes], package: str, url: str) -> None:
    """Apt tells archives apart by their hosts alone before it has read them: all of the system's own would be good for
    nothing, too."""
    host = urlsplit(url).hostname
    for source in sources_of(files):
        for uri in source.uris:
            if urlsplit(uri).hostname == host:
                raise ContentMalformed(
                    f"the archive of {package} is at {host}, where the system's own is too ({uri}), and apt can't be "
                    "told to take that one package from it and no other",
                    where=url,
                    hint=f"give it an address of another name in profiles/packages/{package}.yaml, or the package as a "
                    f"file (docs/supplies.md)",
                )


def _for_one(package: str, host: str) -> str:
    return (
        f'Package: {package}\nPin: origin "{host}"\nPin-Priority: 500\n\n'
        f'Package: *\nPin: origin "{host}"\nPin-Priority: -1\n'
    )
