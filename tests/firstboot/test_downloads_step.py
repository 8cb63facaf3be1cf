"""What a node fetches itself, by apt's real fetcher over https: with the digest that was promised, or not at all."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_folder import NodeFolder
from publishers.server import Server

HELPER = Path("/usr/lib/apt/apt-helper")
pytestmark = pytest.mark.skipif(not HELPER.exists(), reason="needs apt")
BODY = b"\x7fELF" + bytes(range(256)) * 500
PATH = "usr/local/bin/k3s"


@pytest.fixture
def server(tmp_path: Path, node: NodeFolder) -> Iterator[Server]:
    """On loopback, with a CA that apt takes."""
    served = Server(tmp_path)
    conf = tmp_path / "apt.conf"
    lines = (f'Acquire::https::CAInfo "{served.ca}"', 'APT::Sandbox::User "root"', 'Acquire::https::Proxy "DIRECT"')
    conf.write_text("".join(f"{line};\n" for line in lines))
    node.environment["APT_CONFIG"] = str(conf)
    yield served
    served.close()


def ask(node: NodeFolder, url: str, content: bytes = BODY) -> subprocess.CompletedProcess[str]:
    digest = hashlib.sha256(content).hexdigest()
    node.write("etc/imagesmith/downloads", f"file sha256:{digest} {len(content)} 0755 /{PATH} {url}\n")
    return node.run("steps/70-downloads")


def test_a_node_without_downloads_has_nothing_to_do(node: NodeFolder) -> None:
    done = node.run("steps/70-downloads")
    assert (done.returncode, done.stdout) == (0, "nothing is to be fetched\n")


def test_the_file_comes_with_its_mode(node: NodeFolder, server: Server) -> None:
    done = ask(node, server.file("/k3s", BODY))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (node.root / PATH).read_bytes() == BODY
    assert (node.root / PATH).stat().st_mode & 0o7777 == 0o755


def test_a_redirect_is_followed(node: NodeFolder, server: Server) -> None:
    server.file("/elsewhere", BODY)
    done = ask(node, server.redirect("/v1.36.3%2Bk3s1/k3s", "/elsewhere"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (node.root / PATH).read_bytes() == BODY


def test_what_is_there_already_is_not_fetched_again(node: NodeFolder, server: Server) -> None:
    url = server.file("/k3s", BODY)
    assert ask(node, url).returncode == 0
    server.forget()
    assert ask(node, url).returncode == 0
    assert server.seen == []


def test_other_bytes_get_no_name(node: NodeFolder, server: Server) -> None:
    done = ask(node, server.file("/k3s", BODY[:-1] + b"!"))
    assert done.returncode == 1
    assert "not with the digest that it must have" in done.stderr
    assert not node.exists(PATH)


def test_after_other_bytes_the_right_ones_are_taken(node: NodeFolder, server: Server) -> None:
    assert ask(node, server.file("/k3s", BODY[:-1] + b"!")).returncode == 1
    done = ask(node, server.file("/k3s", BODY, etag='"two"'))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (node.root / PATH).read_bytes() == BODY


def test_a_file_that_is_away_is_told_by_its_address(node: NodeFolder, server: Server) -> None:
    done = ask(node, server.url("/gone"))
    assert done.returncode == 1
    assert server.url("/gone") in done.stderr
    assert not node.exists(PATH)


def test_a_file_cut_off_by_a_power_cut_is_made_whole(node: NodeFolder, server: Server) -> None:
    node.write(f"{PATH}.new", "")
    (node.root / f"{PATH}.new").write_bytes(BODY[:1000])
    done = ask(node, server.file("/k3s", BODY))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (node.root / PATH).read_bytes() == BODY
    assert not node.exists(f"{PATH}.new")


def test_a_line_that_is_not_understood_is_a_failure(node: NodeFolder) -> None:
    node.write("etc/imagesmith/downloads", f"file md5:00 1 0755 /{PATH} https://example.org/k3s\n")
    assert node.run("steps/70-downloads").returncode == 1
