"""A console on the serial port where GRUB starts the kernel: what update-grub reads, and when it is run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from node_folder import NodeFolder

from imagesmith.families.grub import DEFAULTS, serial_console
from imagesmith.model import Link, PutFile

STOCK = {
    "ubuntu": 'GRUB_CMDLINE_LINUX=""\nGRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"\n',
    "debian": 'GRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"\n',
}


def fragment(console: str = "ttyS0,115200") -> str:
    (put,) = (edit for edit in serial_console(console) if isinstance(edit, PutFile))
    assert isinstance(put.content, bytes)
    return put.content.decode()


def words(before: str, folder: Path) -> list[str]:
    """The kernel's words as grub-mkconfig gets them: it sources every file, in a shell that stops at errors."""
    (folder / "grub").write_text(before)
    (folder / "99-imagesmith.cfg").write_text(fragment())
    script = 'set -e; . ./grub; . ./99-imagesmith.cfg; echo "${GRUB_CMDLINE_LINUX} ${GRUB_CMDLINE_LINUX_DEFAULT}"'
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("system", STOCK)
def test_words_that_the_image_has_are_not_doubled(system: str, tmp_path: Path) -> None:
    said = words(STOCK[system], tmp_path)
    assert sum(word.startswith("console=ttyS0") for word in said) == 1
    assert sum(word.startswith("console=tty") for word in said) == 2


def test_beside_a_screen_the_port_is_added(tmp_path: Path) -> None:
    said = words('GRUB_CMDLINE_LINUX="net.ifnames=0"\nGRUB_CMDLINE_LINUX_DEFAULT="console=tty1"\n', tmp_path)
    assert said == ["net.ifnames=0", "console=ttyS0,115200", "console=tty1"]


def test_where_nothing_is_named_the_screen_is_named_too(tmp_path: Path) -> None:
    assert words('GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n', tmp_path) == ["console=tty0", "console=ttyS0,115200", "quiet"]


def test_another_port_is_not_taken_for_this_one(tmp_path: Path) -> None:
    assert "console=ttyS0,115200" in words('GRUB_CMDLINE_LINUX="console=ttyS01"\n', tmp_path)


def test_a_log_in_is_there_whatever_the_kernel_was_told() -> None:
    (getty,) = (edit for edit in serial_console("ttyS1,9600") if isinstance(edit, Link))
    assert getty.path.endswith("getty.target.wants/serial-getty@ttyS1.service")
    assert getty.target == "/usr/lib/systemd/system/serial-getty@.service"


# -- the step ---------------------------------------------------------------------------------------------------------


def ready(node: NodeFolder, cmdline: str) -> NodeFolder:
    node.configure()
    node.write(DEFAULTS, fragment())
    node.write("proc/cmdline", cmdline)
    node.stand_in("update-grub", "exit 0")
    return node


def test_grubs_menu_is_made_anew_where_the_kernel_was_started_without_the_word(node: NodeFolder) -> None:
    done = ready(node, "root=LABEL=x ro quiet\n").run("steps/55-kernel-words")
    assert done.returncode == 0, done.stderr
    assert "update-grub " in node.calls
    assert "ttyS0 holds from the next start" in done.stdout


@pytest.mark.parametrize("cmdline", ["ro console=tty1 console=ttyS0\n", "console=ttyS0,115200 console=tty1\n"])
def test_nothing_is_done_where_it_had_the_word(node: NodeFolder, cmdline: str) -> None:
    done = ready(node, cmdline).run("steps/55-kernel-words")
    assert done.returncode == 0
    assert node.calls == []


def test_another_port_on_the_line_is_not_enough(node: NodeFolder) -> None:
    ready(node, "console=ttyS01\n").run("steps/55-kernel-words")
    assert "update-grub " in node.calls


def test_nothing_is_done_where_nobody_asked(node: NodeFolder) -> None:
    node.configure()
    node.stand_in("update-grub", "exit 0")
    done = node.run("steps/55-kernel-words")
    assert (done.returncode, node.calls) == (0, [])


def test_a_failed_update_grub_fails_the_step(node: NodeFolder) -> None:
    ready(node, "quiet\n").stand_in("update-grub", "exit 1")
    done = node.run("steps/55-kernel-words")
    assert done.returncode != 0
    assert "update-grub failed" in done.stderr
