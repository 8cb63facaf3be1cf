"""Let go of a card once it is written: the reader is told to eject it, so that the desktop leaves it alone.

Called by the process that wrote the card and has closed it. Touches one USB reader. The command goes to the one slot
(SCSI START STOP UNIT). The USB port is not switched off: that would take the reader, and the cards in its other slots,
away until it is plugged in again.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from imagesmith.model import Device

# <scsi/scsi_ioctl.h> and <linux/cdrom.h>: the kernel turns both into SCSI commands for USB disks too.
_SCSI_IOCTL_DOORUNLOCK, _CDROMEJECT = 0x5381, 0x5309
Command = Callable[[int, int, int], int]
"""`fcntl.ioctl` with a number."""


def eject(device: Device, *, sys: Path = Path("/sys"), command: Command = fcntl.ioctl) -> str:
    """What was done, in words that follow the device's path; "" where nothing can be done. Never raises OSError.

    Only for media that a USB reader can let go of. A slot of the machine's own (mmcblk) knows no such command; a card
    may be taken out of it once it was flushed, which it was.
    """
    node = sys / "block" / device.name
    if device.kind != "disk" or device.bus != "usb" or _line(node / "removable") != "1":
        return ""
    if device.diskseq and _line(node / "diskseq") not in ("", str(device.diskseq)):
        return "was not ejected: another medium is in it now"
    try:
        # Exclusively: who has mounted it meanwhile keeps it. Not blocking: the medium need not answer.
        descriptor = os.open(device.path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return "was not ejected: it is in use again (has the desktop mounted it?), unmount it before taking it out"
        return _failed(error.strerror)
    try:
        # A reader keeps its medium locked while it is open for use; an old one may not know the word.
        command(descriptor, _SCSI_IOCTL_DOORUNLOCK, 0)
        refused = command(descriptor, _CDROMEJECT, 0)
    except OSError as error:
        return _failed(error.strerror)
    finally:
        os.close(descriptor)
    return _failed("the reader refused") if refused else "was ejected and may be taken out"


def _failed(why: str | None) -> str:
    return f"could not be ejected ({why}); everything is written, it may be taken out all the same"


def _line(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
