"""What every Raspberry Pi OS has in common, whichever way its first boot is told what to do.

Called by the families `raspios-cloudinit` and `raspios-legacy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesmith.families import kernel_line
from imagesmith.families.family import Given
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.payload_files import cgroup_words, enabled, masked
from imagesmith.model import Edit, EnsureLine, EnsureToken, Link, PutFile, Remove, Settings

ISSUE: Clue = ("root", "/etc/rpi-issue")
SEED: Clue = ("boot", "/user-data")
CMDLINE: Clue = ("boot", "/cmdline.txt")
CONFIG: Clue = ("boot", "/config.txt")
MACHINE_ID: Clue = ("root", "/etc/machine-id")
CLUES: tuple[Clue, ...] = (ISSUE, SEED, CMDLINE, CONFIG, MACHINE_ID)

GROWERS = ("resize", "init=/usr/lib/raspberrypi-sys-mods/firstboot")
"""The words that start the image's own first boot: the newer one, done by the initramfs, and the older one."""
_NEVER_BOOTED = ("", "uninitialized")

FACTS: Mapping[str, str] = {
    "serial": "serial0,115200",
    "wizard": "userconfig.service",
    "account": "pi",
    "sudoers": "/etc/sudoers.d/010_pi-nopasswd",
}
"""`serial`: console= of the serial port. `wizard`: the unit that asks for a user's
name and password on the screen. `account`: the user that comes with the image. `sudoers`: what makes that one root."""

KEY_MAKER = "regenerate_ssh_host_keys"
_KEY_SCRIPT = f"/usr/lib/raspberrypi-sys-mods/{KEY_MAKER}"
_NO_NEW_KEYS = b"""\
#!/bin/sh
# This node's host keys came with its image and are known already: none is removed, none is made.
exit 0
"""
_GETTY = "/etc/systemd/system/getty.target.wants/getty@tty1.service"
CLOSED = "/etc/imagesmith/closed-accounts"


def objections(found: Findings) -> tuple[str, ...]:
    """What shows that an image is not as it was published, or otherwise than the edits take for granted."""
    told = list(kernel_line.objections(found, CMDLINE[1], GROWERS))
    if machine_id := _booted_as(found):
        told.append(f"it was booted before (its machine-id is {machine_id}), so two nodes made from it would be one")
    if section := last_section(found.text(*CONFIG)):
        told.append(f"{CONFIG[1]} ends in the section {section}, so what is added would count only there")
    return tuple(told)


def starts(facts: Mapping[str, str], settings: Settings) -> tuple[Edit, ...]:
    """Words for the kernel, and SSH on, which is off in the image as published.

    By systemd's own links, and not by the file `ssh` on FAT: for that one the image runs `systemctl enable --now` while
    the system starts. systemd reads all units anew meanwhile, may lose sight of an sshd that it has just started, and
    fails to start a second one (seen with systemd 257, about one start in three, where both ways were used).
    """
    return (
        *cgroup_words(*CMDLINE),
        *(_serial(facts) if settings.serial_console else ()),
        enabled("ssh.service"),
        # As `systemctl enable` makes it too, so that whoever enables SSH again changes nothing.
        Link("root", "/etc/systemd/system/sshd.service", "/usr/lib/systemd/system/ssh.service"),
    )


def no_questions(facts: Mapping[str, str]) -> tuple[Edit, ...]:
    """The console's wizard never asks, its tty is a log-in again, and the account it would rename opens nothing.

    Masked, not only disabled: an image without a machine-id has systemd enable every unit that is not masked, and
    the wizard waits for a keyboard that no rack has.
    """
    return (
        masked(facts["wizard"]),
        Remove("root", f"/etc/systemd/system/multi-user.target.wants/{facts['wizard']}"),
        # The warning before each log-in, that there is no user yet.
        Remove("root", "/etc/ssh/sshd_config.d/rename_user.conf"),
        Remove("root", "/etc/systemd/system/getty@tty1.service.d/autologin.conf"),
        Link("root", _GETTY, "/usr/lib/systemd/system/getty@.service"),
        # Passwordless, and whoever renames the account takes it along.
        Remove("root", facts["sudoers"]),
        PutFile("root", CLOSED, f"{facts['account']}\n".encode()),
    )


def kept_keys(given: Given) -> tuple[Edit, ...]:
    """Where a vault keeps the host keys: what makes them anew at the first start, by script or by unit, does nothing.

    The older first boot calls the script itself, so that the unit is not all.
    """
    if not given.host_keys:
        return ()
    return (PutFile("root", _KEY_SCRIPT, _NO_NEW_KEYS, 0o755), masked(f"{KEY_MAKER}.service"))


def _serial(facts: Mapping[str, str]) -> tuple[Edit, ...]:
    # Without the line the port has no clock on boards whose good UART is taken by Bluetooth (3 and 4).
    return (
        EnsureLine(*CONFIG, "enable_uart=1"),
        EnsureToken(*CMDLINE, f"console={facts['serial']}"),
    )


def _booted_as(found: Findings) -> str:
    machine_id = found.text(*MACHINE_ID).strip()
    return "" if machine_id in _NEVER_BOOTED else machine_id


def last_section(config: str) -> str:
    """The filter that the end of config.txt is under; empty where it counts for all boards."""
    sections: Sequence[str] = [line.strip() for line in config.splitlines() if line.strip().startswith("[")]
    return sections[-1] if sections and sections[-1].lower() != "[all]" else ""
