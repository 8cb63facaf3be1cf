"""Asks the apt of this machine what an image lacks of some packages, with the image's own sources, keys and state.

Called by `workflow.packages`. Everything lies in a private folder that goes again; nothing of this machine's own apt is
read or changed but its programs. Run by root, apt is started as the user behind sudo, else as apt's own `_apt`.
"""

from __future__ import annotations

import os
import pwd
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from imagesmith import tools
from imagesmith.errors import ContentMalformed, ImagesmithError, SignatureInvalid, SourceUnreachable, UsageError
from imagesmith.events import Listener, StepFinished, StepStarted, unheard
from imagesmith.formats import apt_sources
from imagesmith.formats.apt_sources import AptSource
from imagesmith.invoker import behind_sudo
from imagesmith.model import Architecture, Digest
from imagesmith.sources.disk import failures
from imagesmith.sources.lock_entry import PinnedPackage

STATUS = "/var/lib/dpkg/status"
LISTS = "/etc/apt/sources.list"
FOLDERS = ("/etc/apt/sources.list.d", "/etc/apt/trusted.gpg.d", "/etc/apt/preferences.d", "/etc/apt/mirrors")
FILES = (STATUS, LISTS, "/etc/apt/trusted.gpg", "/etc/apt/preferences")
"""What of an image is needed, with the keys that its sources name."""
_CONF = """\
Dir "{folder}";
Dir::State "state";
Dir::State::status "{folder}/status";
Dir::Cache "cache";
Dir::Etc "etc";
Dir::Log "log";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::Retries "3";
"""
_ROW = re.compile(r"'([^']+)' (\S+\.deb) (\d+) SHA256:([0-9a-f]{64})")
_UNSIGNED = re.compile(r"NO_PUBKEY|is not signed|BADSIG|EXPKEYSIG|REVKEYSIG|signatures were invalid|not live until|Sqv")
_UNKNOWN = re.compile(r"Unable to locate package (\S+)|Package '?(\S+?)'? has no installation candidate")


def lacking(
    files: Mapping[str, bytes],
    architecture: Architecture,
    names: Sequence[str],
    *,
    mirrors: Mapping[str, str] | None = None,
    listener: Listener = unheard,
) -> tuple[PinnedPackage, ...]:
    """What has to be installed for `names` to be there, sorted; none where the image has all of them.

    `files` are the image's, by path: FILES, those of FOLDERS, and the keys that `key_files` asks for; `mirrors` are
    addresses by the pattern of those that they stand for. Raises SourceUnreachable, SignatureInvalid for an archive
    that none of the image's keys signed, UsageError for a name that no archive has, ContentMalformed for sources that
    can't be read, ToolMissing.
    """
    sources = [apt_sources.mirrored(one, mirrors or {}) for one in sources_of(files)]
    if not sources:
        raise ContentMalformed(
            "names no archive of packages", where=LISTS, hint="use packages: online, or another base"
        )
    with tempfile.TemporaryDirectory(prefix="imagesmith-apt-") as name:
        folder = Path(name)
        with failures(folder, "preparing apt"):
            _lay_out(folder, files, sources, architecture)
            user = _give(folder)
        listener(StepStarted("read package lists", f"for {architecture}, as the base's own apt would"))
        _run(folder, user, ["apt-get", "update", "-q"])
        listener(StepFinished("read package lists"))
        asked = ["apt-get", "install", "--print-uris", "-qq", "-y", "--no-install-recommends", "--no-upgrade", *names]
        return _packages(_run(folder, user, asked))


def sources_of(files: Mapping[str, bytes]) -> list[AptSource]:
    """The image's archives that are reached over the network, lists of mirrors unrolled. Raises ContentMalformed."""
    texts = {
        path: content.decode("utf-8", "replace") for path, content in files.items() if path.startswith("/etc/apt/")
    }
    places = [
        path
        for path in texts
        if path == LISTS or re.fullmatch(r"/etc/apt/sources\.list\.d/[\w.-]+\.(list|sources)", path)
    ]
    found = [apt_sources.unrolled(one, texts) for path in sorted(places) for one in apt_sources.read(path, texts[path])]
    reached = [replace(one, uris=tuple(uri for uri in one.uris if re.match("https?://", uri))) for one in found]
    return [one for one in reached if one.uris]


def key_files(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """The paths of the keys that the image's sources name."""
    named = [path for one in sources_of(files) for path in one.signed_by if path.startswith("/")]
    return tuple(dict.fromkeys(named))


# -- the private folder ---------------------------------------------------------------------------


def _lay_out(
    folder: Path, files: Mapping[str, bytes], sources: Sequence[AptSource], architecture: Architecture
) -> None:
    for each in ("state/lists/partial", "cache/archives/partial", "etc/sources.list.d", "etc/trusted.gpg.d",
                 "etc/preferences.d", "etc/apt.conf.d", "keys", "log"):  # fmt: skip
        (folder / each).mkdir(parents=True)
    (folder / "apt.conf").write_text(_CONF.format(folder=folder, architecture=architecture))
    (folder / "status").write_bytes(files.get(STATUS, b""))
    for path, content in files.items():
        part, _, name = path.removeprefix("/etc/apt/").rpartition("/")
        if path.startswith("/etc/apt/") and part in ("", "trusted.gpg.d", "preferences.d") and path != LISTS:
            (folder / "etc" / part / name).write_bytes(content)
    keys = {path: _key(folder, number, files[path]) for number, path in enumerate(key_files(files)) if path in files}
    texts = []
    for number, source in enumerate(sources):
        signed_by = tuple(keys.get(word, word) for word in source.signed_by if word in keys or word[:1] != "/")
        if source.keys:
            signed_by = (_key(folder, len(keys) + number, source.keys.encode()),)
        elif source.signed_by and not signed_by:
            raise SignatureInvalid(
                f"is to be signed by {' or '.join(source.signed_by)}, and the image has no such keys",
                where=source.uris[0],
                hint="use packages: online, or another base",
            )
        texts.append(apt_sources.encode(replace(source, signed_by=signed_by)))
    (folder / "etc/sources.list.d/image.sources").write_text("".join(texts))


def _key(folder: Path, number: int, content: bytes) -> str:
    """A file of keys, named as what it is: apt goes by the name."""
    armoured = content.lstrip().startswith(b"-----BEGIN")
    path = folder / "keys" / f"{number}.{'asc' if armoured else 'gpg'}"
    path.write_bytes(content)
    return str(path)


def _give(folder: Path) -> pwd.struct_passwd | None:
    """The user whom apt shall be run as, who gets the folder; None = who we are."""
    if os.geteuid() != 0:
        return None
    user = behind_sudo()
    if user is None:
        with suppress(KeyError):
            user = pwd.getpwnam("_apt")
    if user is not None and not _gets_in(user, folder.parent):
        user = None
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    return user


def _gets_in(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether the way to a folder is open to somebody, who may be in none of its groups."""
    statuses = [each.stat() for each in (folder, *folder.parents)]
    return all(status.st_mode & (0o100 if status.st_uid == user.pw_uid else 0o001) for status in statuses)


# -- apt ------------------------------------------------------------------------------------------


def _run(folder: Path, user: pwd.struct_passwd | None, argv: Sequence[str]) -> str:
    tools.find(argv[0])
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs"] if user else []
    as_user = ["setpriv", *ids, "--"] if user else []
    env = {"APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C", "HOME": str(folder), "TMPDIR": str(folder)}
    done = tools.run([*as_user, *argv], env=env, cwd=folder, expect=None)
    if done.returncode:
        raise _failure(done.stderr.decode("utf-8", "replace"))
    return done.text


def _failure(said: str) -> ImagesmithError:
    lines = [line for line in said.splitlines() if line.startswith(("E:", "W:", "Err:"))]
    shown = "; ".join(line.partition(":")[2].strip() for line in lines[:3]) or said.strip()[-300:]
    if match := _UNKNOWN.search(said):
        return UsageError(
            f"no archive of the base has the package {match[1] or match[2]}",
            hint="use another base, or see which part of the inventory wants it: imagesmith plan",
        )
    if _UNSIGNED.search(said):
        return SignatureInvalid(
            f"an archive is not signed by a key of the base: {shown}",
            hint="somebody on the way, or a base older than its archive's keys: `imagesmith update` finds a newer one",
        )
    return SourceUnreachable(
        f"apt could not find out which packages are needed: {shown}",
        hint="look at the network (and http_proxy), then run it again; what is locked and cached needs no network",
    )


def _packages(printed: str) -> tuple[PinnedPackage, ...]:
    found = []
    for line in printed.splitlines():
        match = _ROW.match(line)
        if not match:
            raise ContentMalformed(
                f"apt named a package in a way that is not understood: {line[:120]!r}",
                hint="use packages: online; its archive may have no sha256",
            )
        name, version, architecture = unquote(match[2]).removesuffix(".deb").split("_")
        digest = Digest("sha256", match[4])
        found.append(PinnedPackage(name, version, architecture, match[1], int(match[3]), digest))
    return tuple(sorted(found, key=lambda one: (one.name, one.architecture)))
