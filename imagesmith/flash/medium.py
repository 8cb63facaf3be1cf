"""The one open door to a card: exclusive, past the page cache, sure that it is the device that was asked about.

Called by `flash.card_writer`. Touches exactly one block device (or one file, --to-file).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import struct
import time
from collections.abc import Iterator
from types import TracebackType

from imagesmith.disk import FULL
from imagesmith.errors import DeviceRefused, ImagesmithError, IOFailed, NoSpace
from imagesmith.model import Device
from imagesmith.units import MiB, align_up, show_size

CHUNK = 2 * MiB
"""Bytes moved at a time; the size of the one buffer."""
_LOCK_WAIT_S = 5.0
# <linux/fs.h>; Python has no names for them.
_BLKRRPART, _BLKROGET, _BLKGETDISKSEQ = 0x125F, 0x125E, 0x80081280


class Medium:
    """An open device: read and written by offset, through one aligned buffer. A context manager.

    A device is used with O_DIRECT, so that what is read comes from the medium even while another process holds it
    open. A file (`--to-file`) is used through the page cache, which `flush` empties.
    Every failure is an IOFailed that names the byte; NoSpace for a file that the disk has no room for.
    """

    def __init__(self, descriptor: int, device: Device, *, direct: bool) -> None:
        self.device = device
        self._descriptor = descriptor
        self._direct = direct
        self._sector = device.logical_sector if direct else 1
        # Mapped memory begins at a page, which is the alignment that O_DIRECT wants.
        self.buffer = memoryview(mmap.mmap(-1, CHUNK))

    def __enter__(self) -> Medium:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def write(self, offset: int, data: memoryview) -> None:
        """Write `data`, which begins at a page of memory, at `offset`; a sector only begun is filled up with zeros."""
        whole = len(data) // self._sector * self._sector
        self._put(offset, data[:whole])
        if rest := len(data) - whole:
            self.buffer[:rest] = data[whole:]
            self.buffer[rest : self._sector] = bytes(self._sector - rest)
            self._put(offset + whole, self.buffer[: self._sector])

    def zero(self, offset: int, size: int) -> None:
        """Write zeros; both numbers are multiples of the sector's size, but at the device's end."""
        self.buffer[:] = bytes(CHUNK)
        for at in range(0, size, CHUNK):
            self._put(offset + at, self.buffer[: min(CHUNK, size - at)])

    def _put(self, offset: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            with self._failing("writing", offset + done):
                step = os.pwrite(self._descriptor, data[done:], offset + done)
                done += _some(step)

    def read(self, offset: int, size: int) -> memoryview:
        """`size` (at most CHUNK) bytes at `offset`, valid until the buffer is used again."""
        whole = align_up(size, self._sector)
        done = 0
        while done < size:
            with self._failing("reading", offset + done):
                step = os.preadv(self._descriptor, [self.buffer[done:whole]], offset + done)
                done += _some(step)
        return self.buffer[:size]

    def flush(self) -> None:
        """Wait until all that was written is on the medium. The kernel reports a failure here only once."""
        with self._failing("flushing", None):
            os.fsync(self._descriptor)
        if not self._direct:
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        # The buffer goes with its last view; a traceback may still hold one.
        os.close(self._descriptor)

    def reread_table(self) -> None:
        """Let the kernel find the new partitions. A kernel or device that can't is no failure."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, _BLKRRPART)

    @contextlib.contextmanager
    def _failing(self, doing: str, offset: int | None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = self.device.path if offset is None else f"{self.device.path}, byte {offset}"
            if self.device.kind == "file" and error.errno in FULL:
                raise NoSpace(
                    "the disk that holds the file is full", where=place, hint="free some space there, then run it again"
                ) from error
            raise IOFailed(
                f"{doing} failed: {error.strerror or error}",
                where=place,
                hint="try another reader or port; if it fails again the card is worn out",
            ) from error


def open_for_writing(device: Device) -> Medium:
    """Open for reading and writing, exclusively. Raises DeviceRefused.

    O_EXCL is the check that nothing uses the device: it also knows of mounts in other namespaces, and of RAID, LVM
    and ZFS. There is no second try without it.
    """
    return _open(device, os.O_RDWR | os.O_EXCL, locked=True)


def open_for_reading(device: Device) -> Medium:
    """Open to read what is on the medium; others may use it meanwhile. Raises DeviceRefused."""
    return _open(device, os.O_RDONLY, locked=False)


def _open(device: Device, flags: int, *, locked: bool) -> Medium:
    direct = device.kind != "file"
    if not direct:
        flags &= ~os.O_EXCL
    try:
        descriptor = os.open(device.path, flags | os.O_CLOEXEC | (os.O_DIRECT if direct else 0))
    except OSError as error:
        raise _not_opened(device, error) from error
    try:
        _check_same(descriptor, device)
        if locked:
            _check_writable(descriptor, device)
            _lock(descriptor, device)
    except BaseException:
        os.close(descriptor)
        raise
    return Medium(descriptor, device, direct=direct)


def _not_opened(device: Device, error: OSError) -> ImagesmithError:
    if error.errno == errno.EBUSY:
        return DeviceRefused(
            "something uses it: a mount (perhaps in a container), RAID, LVM, or another program that writes it",
            where=device.path,
            hint=f"look with: lsblk {device.path}; fuser -v {device.path}*",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return DeviceRefused("you may not open it", where=device.path, hint="run the same command with sudo")
    if error.errno == errno.EROFS:
        return DeviceRefused("is read-only", where=device.path, hint="look for the small switch on the card or adapter")
    if error.errno == errno.EINVAL:
        return DeviceRefused(
            "can't be read past the page cache (O_DIRECT), so nothing could be verified", where=device.path
        )
    return DeviceRefused(f"can't be opened: {error.strerror}", where=device.path, hint="put the card in again")


def _check_same(descriptor: int, device: Device) -> None:
    """What was opened is what was listed and confirmed; a card may have been swapped since."""
    status = os.fstat(descriptor)
    size = os.lseek(descriptor, 0, os.SEEK_END)
    changes = []
    if device.kind == "file":
        if not stat.S_ISREG(status.st_mode):
            changes.append("it is no longer a regular file")
    else:
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        if not stat.S_ISBLK(status.st_mode) or number != device.number:
            changes.append(f"it was device {device.number}, now {number}")
        sequence = _diskseq(descriptor)
        if device.diskseq and sequence and sequence != device.diskseq:
            changes.append("another medium was put in")
    if size != device.size:
        changes.append(f"it had {show_size(device.size)} ({device.size} bytes), now {show_size(size)} ({size})")
    if changes:
        raise DeviceRefused(
            f"is not what it was when it was listed: {'; '.join(changes)}",
            where=device.path,
            hint="nothing was written; start again and look at what is asked",
        )


def _diskseq(descriptor: int) -> int:
    """0 where the kernel (before 5.15) does not count."""
    try:
        raw = fcntl.ioctl(descriptor, _BLKGETDISKSEQ, bytes(8))
    except OSError:
        return 0
    return int(struct.unpack("=Q", raw)[0])


def _check_writable(descriptor: int, device: Device) -> None:
    # Root's O_RDWR open of a read-only device succeeds; only its writes fail.
    if device.kind == "file":
        return
    with contextlib.suppress(OSError):
        if struct.unpack("=i", fcntl.ioctl(descriptor, _BLKROGET, bytes(4)))[0]:
            raise DeviceRefused(
                "is read-only", where=device.path, hint="look for the small switch on the card or adapter"
            )


def _lock(descriptor: int, device: Device) -> None:
    """Keep udev from probing, and others from writing, meanwhile. udev takes this lock for a moment when it probes."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise DeviceRefused(
                    "another program has locked it",
                    where=device.path,
                    hint=f"see which with: fuser -v {device.path}; end it, then try again",
                ) from error
            time.sleep(0.1)


def _some(count: int) -> int:
    if count == 0:
        raise OSError(errno.EIO, "the device ended early")
    return count
