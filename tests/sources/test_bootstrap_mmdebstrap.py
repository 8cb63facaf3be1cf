"""mmdebstrap's command lines, and what is made of what it says."""

import shlex
import signal
import threading
from pathlib import Path

import pytest
from bootstrapping import PC, RASPBERRY, StandIn

from imagesmith.errors import ImagesmithError, NoSpace, SourceUnreachable
from imagesmith.events import Event, StepStarted, unheard
from imagesmith.sources.bootstrap import mmdebstrap
from imagesmith.sources.bootstrap.recipe import Recipe

PC_RECIPE, PI_RECIPE = Recipe.of(PC, "amd64"), Recipe.of(RASPBERRY, "arm64")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn(tmp_path)
    monkeypatch.setenv("PATH", str(made.folder), prepend=":")
    return made


def run(folder: Path, said: list[Event] | None = None) -> None:
    listener = said.append if said is not None else unheard
    argv = mmdebstrap.tree_argv(PC_RECIPE, "unshare", native=False)
    mmdebstrap.run(argv, folder=folder, temporary=None, epoch=1, listener=listener)


def test_a_tree_is_made_of_what_was_resolved() -> None:
    argv = mmdebstrap.tree_argv(PC_RECIPE, "unshare", native=False)
    assert {"--mode=unshare", "--skip=update,cleanup/apt", "--architectures=amd64", "--components=main"} <= set(argv)
    assert "--include=linux-image-amd64,systemd-boot" in argv
    assert argv[-2:] == ("trixie", "root.tar")


def test_as_root_its_mounts_are_its_own() -> None:
    assert mmdebstrap.tree_argv(PC_RECIPE, "root", native=False)[:4] == (
        "unshare", "--mount", "mmdebstrap", "--mode=root"
    )  # fmt: skip
    assert mmdebstrap.resolve_argv(PC_RECIPE, "unshare")[0] == "mmdebstrap"


def test_native_programs_come_before_they_are_put_in() -> None:
    hooks = [word for word in mmdebstrap.tree_argv(PI_RECIPE, "root", native=True) if "--extract-hook" in word]
    unpacked = next(at for at, hook in enumerate(hooks) if "tar-in native.tar" in hook)
    assert unpacked < len(hooks) - 1
    assert hooks[-1].endswith('divert.sh" "$1"')
    assert not any("native" in word for word in mmdebstrap.tree_argv(PC_RECIPE, "root", native=False))


def test_everything_is_put_back_after_the_loader_and_before_the_boot_files_leave() -> None:
    hooks = [word for word in mmdebstrap.tree_argv(PI_RECIPE, "root", native=True) if "--customize-hook" in word]
    loader, back, out = (
        next(at for at, hook in enumerate(hooks) if text in hook)
        for text in ("raspi-firmware.sh /boot/firmware", 'restore.sh" "$1"', "tar-out /boot/firmware boot.tar")
        if text
    )
    last_restore = max(at for at, hook in enumerate(hooks) if hook.endswith('restore.sh" "$1"'))
    assert back <= loader < last_restore < out


def test_hooks_survive_the_shells_splitting() -> None:
    for word in mmdebstrap.tree_argv(PI_RECIPE, "root", native=True):
        if "-hook=" in word:
            assert shlex.split(word.partition("=")[2])


def test_its_steps_are_told(tmp_path: Path, stand_in: StandIn) -> None:
    said: list[Event] = []
    run(tmp_path, said)
    assert said == [StepStarted("read package lists"), StepStarted("pack the tree")]


@pytest.mark.parametrize(
    ("saying", "kind", "word"),
    [
        ("Err:1 http://mirror trixie\n  Temporary failure resolving 'mirror'\n", SourceUnreachable, "network"),
        ("E: Failed to fetch http://mirror/a.deb  404  Not Found\n", SourceUnreachable, "network"),
        ("E: Unable to locate package no-such-thing\n", ImagesmithError, "packages"),
        ("dpkg: error: cannot copy: No space left on device\n", NoSpace, "space"),
        ("E: something else\n", ImagesmithError, ""),
    ],
)
def test_its_failures_have_their_class_and_its_own_words(
    tmp_path: Path, stand_in: StandIn, saying: str, kind: type[ImagesmithError], word: str
) -> None:
    stand_in.fail(f"I: creating tarball...\n{saying}I: removing tempdir /tmp/x...\n")
    with pytest.raises(ImagesmithError) as caught:
        run(tmp_path)
    assert type(caught.value) is kind
    assert word in caught.value.hint
    assert saying.split(":")[1].split("\n")[0].strip()[:20] in str(caught.value)


def test_an_interruption_reaches_it_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mmdebstrap"
    program.write_text(
        "#!/bin/sh\ntrap 'echo cleaned up >cleaned; exit 1' INT\necho I: running apt-get update... >&2\n"
        "while :; do sleep 0.1; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def interrupt(event: Event) -> None:
        signal.raise_signal(signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    argv = mmdebstrap.resolve_argv(PC_RECIPE, "unshare")
    with pytest.raises(KeyboardInterrupt):
        mmdebstrap.run(argv, folder=tmp_path, temporary=None, epoch=None, listener=interrupt)
    assert (tmp_path / "cleaned").read_text() == "cleaned up\n"
