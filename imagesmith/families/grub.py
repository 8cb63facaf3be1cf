"""A console on the serial port of a machine that GRUB starts.

Called by the families whose images are for PCs. grub.cfg itself is not touched: it is made anew with every kernel, from
/etc/default/grub.d, and may lie on a partition of its own. What is put there makes the words last, and the first boot's
step 55-kernel-words has grub.cfg made anew where the kernel was started without them. The log-in needs no such word: it
is there from the first start.
"""

from __future__ import annotations

from imagesmith.families.payload_files import UNITS
from imagesmith.model import Edit, Link, PutFile

DEFAULTS = "/etc/default/grub.d/99-imagesmith.cfg"
"""Read last, so it sees what the image's own files say."""


def serial_console(console: str) -> tuple[Edit, ...]:
    """`console` as the kernel takes it, `ttyS0,115200`."""
    port = console.partition(",")[0]
    getty = f"/etc/systemd/system/getty.target.wants/serial-getty@{port}.service"
    return (
        PutFile("root", DEFAULTS, _DEFAULTS.format(port=port, console=console).encode()),
        Link("root", getty, f"{UNITS}/serial-getty@.service"),
    )


_DEFAULTS = """\
# The kernel's messages go to the serial port too. A shell fragment, read by update-grub.
# A screen gets none of them once any console is named, so it is named as well where the image names nothing.
case " $GRUB_CMDLINE_LINUX ${{GRUB_CMDLINE_LINUX_DEFAULT-}} " in
*" console={port} "* | *" console={port},"*) ;;
*" console="*) GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX console={console}" ;;
*) GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX console=tty0 console={console}" ;;
esac
"""
