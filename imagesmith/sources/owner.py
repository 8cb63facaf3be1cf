"""Whose cache it is: under `sudo` the files belong to the user who called it, so that they can use them later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import platformdirs

from imagesmith.invoker import behind_sudo

Owner = tuple[int, int]
"""uid and gid."""


def default_cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """IMAGESMITH_CACHE, else the cache folder of the user (of the user behind sudo)."""
    environ = os.environ if environ is None else environ
    if environ.get("IMAGESMITH_CACHE"):
        return Path(environ["IMAGESMITH_CACHE"]).expanduser().absolute()
    user = behind_sudo(environ)
    if user:
        return Path(user.pw_dir) / ".cache" / "imagesmith"
    return platformdirs.user_cache_path("imagesmith", appauthor=False)


def of_folder(folder: Path) -> Owner | None:
    """Who shall own what is made in `folder`; None when we are not root or the folder is root's."""
    if os.geteuid() != 0:
        return None
    with suppress(OSError):
        status = folder.stat()
        return (status.st_uid, status.st_gid) if status.st_uid else None
    user = behind_sudo()
    return (user.pw_uid, user.pw_gid) if user else None


def make_folders(folder: Path, owner: Owner | None) -> None:
    """Make `folder` and its missing parents, 0700, each given to `owner`."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        if owner:
            os.chown(path, *owner, follow_symlinks=False)
