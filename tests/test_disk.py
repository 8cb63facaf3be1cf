"""The system's complaints told as ours: full or failed, where, why and what to do; one text for all who use files."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from imagesmith import disk
from imagesmith.errors import ImagesmithError, IOFailed, NoSpace
from imagesmith.sources import disk as sources_disk

Failures = Callable[[str, str], AbstractContextManager[None]]
EVERYWHERE = pytest.mark.parametrize("failures", [disk.failures, sources_disk.failures], ids=["disk", "sources"])


def told(failures: Failures, number: int) -> ImagesmithError:
    with pytest.raises(ImagesmithError) as caught, failures("/some/file", "writing the image"):
        raise OSError(number, os.strerror(number))
    return caught.value


@EVERYWHERE
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_the_reason(failures: Failures, number: int) -> None:
    error = told(failures, number)
    assert type(error) is NoSpace
    assert str(error) == f"/some/file: no space left while writing the image: {os.strerror(number)}"


@EVERYWHERE
def test_any_other_failure_is_told_with_the_reason(failures: Failures) -> None:
    error = told(failures, errno.EACCES)
    assert type(error) is IOFailed
    assert str(error) == "/some/file: writing the image failed: Permission denied"
    assert "permissions" in error.hint


def test_only_who_fills_the_cache_is_sent_to_it() -> None:
    assert "free some space there" in told(disk.failures, errno.ENOSPC).hint
    assert "cache prune" in told(sources_disk.failures, errno.ENOSPC).hint
