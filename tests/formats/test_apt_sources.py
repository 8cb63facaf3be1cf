"""Where apt gets packages from: both formats of /etc/apt, as Debian, Ubuntu, Raspberry Pi and Armbian write them."""

from __future__ import annotations

import pytest

from imagesmith.errors import ContentMalformed
from imagesmith.formats.apt_sources import AptSource, encode, mirrored, read, unrolled

MAIN = AptSource(("http://ftp.zz.debian.org/debian",), ("trixie",), ("main",))


def one(text: str, path: str = "/etc/apt/sources.list") -> AptSource:
    (found,) = read(path, text)
    return found


# -- lines ----------------------------------------------------------------------------------------


def test_a_line_is_address_suite_and_components() -> None:
    assert one("deb http://ftp.zz.debian.org/debian trixie main\n") == MAIN


def test_comments_source_code_and_empty_lines_are_left_out() -> None:
    text = "# a comment\n\ndeb-src http://ftp.zz.debian.org/debian trixie main\n#deb http://x trixie main\n"
    assert read("/etc/apt/sources.list", text + "deb http://ftp.zz.debian.org/debian trixie main # here\n") == (MAIN,)


def test_options_of_a_line() -> None:
    found = one("deb [arch=arm64,armhf signed-by=/usr/share/keyrings/a.gpg] http://apt.armbian.com trixie main\n")
    assert (found.architectures, found.signed_by) == (("arm64", "armhf"), ("/usr/share/keyrings/a.gpg",))


def test_a_suite_that_is_a_path_has_no_components() -> None:
    assert one("deb https://example.org/repo ./\n") == AptSource(("https://example.org/repo",), ("./",), ())


@pytest.mark.parametrize(
    "line", ["deb http://x", "dep http://x trixie main", "<html>", "deb [signed-by=/x http://x y z"]
)
def test_a_line_that_apt_would_refuse_is_told_with_its_file(line: str) -> None:
    with pytest.raises(ContentMalformed, match="no list of sources") as failure:
        read("/etc/apt/sources.list.d/x.list", f"{line}\n")
    assert failure.value.where == "/etc/apt/sources.list.d/x.list"


# -- stanzas --------------------------------------------------------------------------------------


def test_a_stanza_has_several_of_each() -> None:
    text = "Types: deb deb-src\nURIs: http://a/ http://b/\nSuites: noble noble-updates\nComponents: main universe\n"
    found = one(text, "x.sources")
    assert found.uris == ("http://a/", "http://b/")
    assert (found.suites, found.components) == (("noble", "noble-updates"), ("main", "universe"))


def test_stanzas_are_parted_by_empty_lines_and_comments_are_none() -> None:
    first, second = (
        "# first\nTypes: deb\nURIs: http://a/\nSuites: x\n",
        "Types: deb\n# within\nURIs: http://b/\nSuites: y\n",
    )
    text = f"{first} \n\n# second\n{second}"
    assert [source.uris for source in read("x.sources", text)] == [("http://a/",), ("http://b/",)]


@pytest.mark.parametrize("word", ["no", "false", "off", "NO"])
def test_what_is_turned_off_is_left_out(word: str) -> None:
    assert read("x.sources", f"Enabled: {word}\nTypes: deb\nURIs: http://a/\nSuites: x\n") == ()


def test_names_of_fields_know_no_case() -> None:
    assert one("types: deb\nuris: http://a/\nSUITES: x\nsigned-by: /k.gpg\n", "x.sources").signed_by == ("/k.gpg",)


def test_keys_that_stand_in_it_are_unfolded() -> None:
    block = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abcd\n -----END PGP PUBLIC KEY BLOCK-----\n"
    found = one(f"Types: deb\nURIs: http://a/\nSuites: x\nSigned-By:\n{block}", "x.sources")
    assert found.keys == "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    assert found.signed_by == ()


@pytest.mark.parametrize(
    "text", ["Types: deb\nSuites: x\n", "Types: deb\nURIs: http://a/\n", " continued\n", "no colon\n"]
)
def test_a_stanza_that_apt_would_refuse_is_told(text: str) -> None:
    with pytest.raises(ContentMalformed, match="no list of sources"):
        read("x.sources", text)


# -- out, and mirrors -----------------------------------------------------------------------------


def test_what_is_written_is_read_again() -> None:
    source = AptSource(("http://a/",), ("x", "y"), ("main",), ("arm64",), ("/k.gpg",))
    assert one(encode(source), "x.sources") == source


def test_nothing_that_loosens_what_apt_checks_is_written() -> None:
    text = "Types: deb\nURIs: http://a/\nSuites: x\nTrusted: yes\nAllow-Insecure: yes\nCheck-Valid-Until: no\n"
    assert encode(one(text, "x.sources")) == "Types: deb\nURIs: http://a/\nSuites: x\n\n"


def test_a_mirror_stands_for_a_whole_address_and_for_no_part_of_one() -> None:
    mirrors = {r"https?://ftp\.zz\.debian\.org/debian/?": "http://mirror.lan/debian"}
    assert mirrored(MAIN, mirrors).uris == ("http://mirror.lan/debian",)
    security = AptSource(("http://ftp.zz.debian.org/debian-security",), ("trixie-security",), ("main",))
    assert mirrored(security, mirrors) == security


def test_a_list_of_mirrors_becomes_its_first_address() -> None:
    source = AptSource(("mirror+file:/etc/apt/mirrors/debian.list", "http://b/"), ("trixie",), ("main",))
    lists = {"/etc/apt/mirrors/debian.list": "# ours\nhttps://ftp.zz.debian.org/debian\tpriority:1\nhttp://other/\n"}
    assert unrolled(source, lists).uris == ("https://ftp.zz.debian.org/debian", "http://b/")


def test_a_list_of_mirrors_that_is_not_there_is_no_address() -> None:
    assert unrolled(AptSource(("mirror+file:/gone",), ("trixie",), ()), {}).uris == ()
