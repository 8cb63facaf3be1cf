"""The user behind `sudo` (doas, pkexec): who it is, giving them their files, and becoming them for good.

A door, used by `sources`, `output` and `workflow`. Reads the environment and the list of users; `give` changes the
owner of one file, `become` changes this process.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from imagesmith.errors import ImagesmithError

_HINT = "run it without sudo; if it was, this is a bug: please report it"


class StillRoot(ImagesmithError):
    """This process could not give up root, or not for good. It must end now: nothing may go on as if it had."""


def behind_sudo(environ: Mapping[str, str] | None = None) -> pwd.struct_passwd | None:
    """The user who called us through sudo, doas or pkexec; None when we are not root, or root called.

    Also None when the name or number is of no user that this system knows.
    """
    environ = os.environ if environ is None else environ
    if os.geteuid() != 0:
        return None
    # Each of them clears the others' variables unless it was told to keep them, so that the first one wins is enough.
    for name in ("SUDO_UID", "DOAS_USER", "PKEXEC_UID"):
        if environ.get(name):
            user = _named(environ[name]) if name == "DOAS_USER" else _numbered(environ[name])
            return user if user and user.pw_uid != 0 else None
    return None


def give(what: int | Path, environ: Mapping[str, str] | None = None) -> None:
    """Let an open file, or a path (a link itself, not its target), belong to the user behind sudo, if there is one.

    Raises OSError.
    """
    user = behind_sudo(environ)
    if user is None:
        return
    if isinstance(what, int):
        os.fchown(what, user.pw_uid, user.pw_gid)
    else:
        os.chown(what, user.pw_uid, user.pw_gid, follow_symlinks=False)


def become(user: pwd.struct_passwd) -> None:
    """Be `user` from here on, in every thread and for good: ids, groups, and HOME, USER and LOGNAME.

    Files that are open stay open. Raises StillRoot when it did not work or could be undone; then end the process.
    """
    if user.pw_uid == 0:
        raise StillRoot(f"{user.pw_name} is root too, so nothing would be given up", hint=_HINT)
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    try:
        # In this order: once the user id is gone, the groups can't be changed any more.
        os.setgroups(groups)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as error:
        raise StillRoot(f"can't become user {user.pw_name}: {error.strerror}", hint=_HINT) from error
    _verify(user, groups)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def _verify(user: pwd.struct_passwd, groups: list[int]) -> None:
    """Look at what the kernel says we are now, and try to get root back."""
    ids = (set(os.getresuid()), set(os.getresgid()), set(os.getgroups()))
    if ids != ({user.pw_uid}, {user.pw_gid}, set(groups)):
        raise StillRoot(f"became {user.pw_name} only in part", hint=_HINT)
    with suppress(PermissionError):
        # It works for who kept the capability, for example through the securebits of a container.
        os.setresuid(-1, 0, -1)
        raise StillRoot(f"became {user.pw_name}, but root could be had back", hint=_HINT)
    with suppress(PermissionError):
        os.setgroups([0])
        raise StillRoot(f"became {user.pw_name}, but root's group could be had back", hint=_HINT)


def _numbered(uid: str) -> pwd.struct_passwd | None:
    if not uid.isascii() or not uid.isdecimal():
        return None
    with suppress(KeyError, OverflowError):
        return pwd.getpwuid(int(uid))
    return None


def _named(name: str) -> pwd.struct_passwd | None:
    with suppress(KeyError, ValueError):
        return pwd.getpwnam(name)
    return None
