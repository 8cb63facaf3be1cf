"""A small archive of packages on loopback: made by dpkg-deb, signed as Debian signs, served over http as mirrors do."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from publishers.houses import Key

SUITE = "trixie"
_INSTALLED = """\
Package: {name}
Status: install ok installed
Version: {version}
Architecture: {architecture}
Maintainer: x <x@example.org>
Description: made for a test

"""


def make_deb(
    folder: Path, name: str, version: str = "1.0", *fields: str, architecture: str = "all", conf: str = "",
    postinst: str = "",
) -> Path:  # fmt: skip
    """A package with one file in it; `fields` are lines of its control file, `conf` the text of /etc/<name>.conf."""
    tree = folder / f"tree-{name}-{version.replace(':', '-')}-{architecture}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = [f"Package: {name}", f"Version: {version}", f"Architecture: {architecture}"]
    control += ["Maintainer: x <x@example.org>", *fields, "Description: made for a test", ""]
    (tree / "DEBIAN/control").write_text("\n".join(control))
    if postinst:
        (tree / "DEBIAN/postinst").write_text(postinst)
        (tree / "DEBIAN/postinst").chmod(0o755)
    (tree / f"usr/share/{name}").mkdir(parents=True)
    (tree / f"usr/share/{name}/version").write_text(version)
    if conf:
        (tree / "etc").mkdir()
        (tree / f"etc/{name}.conf").write_text(conf)
        (tree / "DEBIAN/conffiles").write_text(f"/etc/{name}.conf\n")
    # Archives leave the epoch out of the file's name.
    made = folder / f"{name}_{version.partition(':')[2] or version}_{architecture}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, made], check=True, capture_output=True)
    return made


def installed(architecture: str, *names: str) -> str:
    """A list of dpkg's with these, in a version that is enough."""
    return "".join(_INSTALLED.format(name=name, version="3.5", architecture=architecture) for name in names)


def listing(debs: dict[str, Path]) -> str:
    """A Packages file; `debs` by their path in the archive."""
    stanzas = []
    for path, deb in debs.items():
        control = subprocess.run(["dpkg-deb", "-f", deb], capture_output=True, text=True, check=True).stdout.strip()
        content = deb.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        stanzas.append(f"{control}\nFilename: {path}\nSize: {len(content)}\nSHA256: {digest}\n")
    return "\n".join(stanzas)


def publish_flat(folder: Path, *debs: Path) -> None:
    """An archive without suites and without a signature."""
    for deb in debs:
        shutil.copy(deb, folder)
    (folder / "Packages").write_text(listing({f"./{deb.name}": deb for deb in debs}))


def publish(folder: Path, key: Key, *debs: Path, architectures: tuple[str, ...] = ("amd64", "arm64")) -> None:
    """`main` of one suite, with a Release file that `key` signed; packages for all are listed for each."""
    pool, suite = folder / "pool", folder / "dists" / SUITE
    pool.mkdir(parents=True, exist_ok=True)
    sums = []
    for architecture in architectures:
        fitting = [deb for deb in debs if deb.stem.rpartition("_")[2] in (architecture, "all")]
        for deb in fitting:
            shutil.copy(deb, pool)
        content = listing({f"pool/{deb.name}": deb for deb in fitting}).encode()
        path = f"main/binary-{architecture}/Packages"
        (suite / path).parent.mkdir(parents=True, exist_ok=True)
        (suite / path).write_bytes(content)
        sums.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {path}")
    fields = ["Origin: Debian", f"Suite: {SUITE}", f"Codename: {SUITE}", "Date: Mon, 02 Nov 2026 08:00:00 UTC"]
    fields += [f"Architectures: {' '.join(architectures)}", "Components: main", "SHA256:", *sums, ""]
    release = "\n".join(fields).encode()
    (suite / "Release").write_bytes(release)
    (suite / "Release.gpg").write_bytes(key.sign(release, "--armor"))


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The folder over http; its address, with a slash at the end."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
