"""The user behind sudo: found only for root, given files, and become for good (in processes of its own)."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagesmith.invoker import behind_sudo, give

NOBODY = pwd.getpwnam("nobody")
UNKNOWN = "3999999999"
pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

BECOME = """
import json, os, pwd, sys
from imagesmith.invoker import StillRoot, become, behind_sudo
def told(**facts):
    print(json.dumps(facts))
def refused(call, *args):
    try:
        call(*args)
    except PermissionError:
        return True
    return False
user = pwd.getpwnam("nobody")
"""


def child(body: str, *prefix: str, **environ: str) -> dict[str, Any]:
    """What `told` printed in a fresh process that runs `body`; `prefix` = the program to start it with."""
    argv = [*prefix, sys.executable, "-c", BECOME + body]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environ}, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


class TestBehindSudo:
    @pytest.mark.parametrize(
        "environ",
        [{"SUDO_UID": str(NOBODY.pw_uid)}, {"PKEXEC_UID": str(NOBODY.pw_uid)}, {"DOAS_USER": "nobody"}],
        ids=lambda environ: next(iter(environ)),
    )
    def test_each_way_to_root_tells_who_called(self, environ: dict[str, str]) -> None:
        assert behind_sudo(environ) == NOBODY

    @pytest.mark.parametrize("name", ["SUDO_UID", "PKEXEC_UID"])
    @pytest.mark.parametrize("uid", ["", "0", "-1", "1 ", "+1", "\u0661", "nobody", UNKNOWN, "9" * 30])
    def test_what_is_no_other_users_number_is_nobody(self, name: str, uid: str) -> None:
        assert behind_sudo({name: uid}) is None

    @pytest.mark.parametrize("name", ["", "root", "no such user", "a\0b", "65534"])
    def test_what_is_no_other_users_name_is_nobody(self, name: str) -> None:
        assert behind_sudo({"DOAS_USER": name}) is None

    def test_root_through_sudo_is_not_who_called_doas_before(self) -> None:
        assert behind_sudo({"SUDO_UID": "0", "DOAS_USER": "nobody"}) is None

    def test_nobody_is_behind_a_process_that_is_not_root(self) -> None:
        body = "become(user)\ntold(found=behind_sudo({'SUDO_UID': '1'}) is not None)"
        assert child(body) == {"found": False}


class TestGive:
    ENVIRON = {"SUDO_UID": str(NOBODY.pw_uid)}

    def test_a_path_and_an_open_file_become_the_users(self, tmp_path: Path) -> None:
        for name in ("path", "open"):
            (tmp_path / name).touch()
        give(tmp_path / "path", self.ENVIRON)
        with (tmp_path / "open").open() as file:
            give(file.fileno(), self.ENVIRON)
        found = [(tmp_path / name).stat() for name in ("path", "open")]
        assert {(status.st_uid, status.st_gid) for status in found} == {(NOBODY.pw_uid, NOBODY.pw_gid)}

    def test_a_links_target_stays_whose_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "target").touch()
        (tmp_path / "link").symlink_to("target")
        give(tmp_path / "link", self.ENVIRON)
        assert (tmp_path / "link").lstat().st_uid == NOBODY.pw_uid
        assert (tmp_path / "target").stat().st_uid == 0

    def test_without_sudo_it_stays_roots(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        give(tmp_path / "file", {})
        assert (tmp_path / "file").stat().st_uid == 0


class TestBecome:
    def test_every_id_is_the_users(self) -> None:
        told = child("""
os.setgroups([0, 4, 27])
become(user)
told(uids=os.getresuid(), gids=os.getresgid(), groups=sorted(os.getgroups()))
""")
        groups = sorted(os.getgrouplist(NOBODY.pw_name, NOBODY.pw_gid))
        assert told == {"uids": [NOBODY.pw_uid] * 3, "gids": [NOBODY.pw_gid] * 3, "groups": groups}

    def test_root_cannot_be_had_back(self) -> None:
        told = child("""
become(user)
told(user=refused(os.seteuid, 0), all=refused(os.setresuid, 0, 0, 0), group=refused(os.setegid, 0),
     groups=refused(os.setgroups, [0]), shadow=refused(open, "/etc/shadow"))
""")
        assert told == {"user": True, "all": True, "group": True, "groups": True, "shadow": True}

    def test_no_capability_is_left(self) -> None:
        body = "become(user)\ntold(**dict(line.split() for line in open('/proc/self/status') if line[:4] in %s))"
        assert set(child(body % "('CapP', 'CapE', 'CapA')").values()) == {"0" * 16}

    def test_other_threads_are_the_user_too(self) -> None:
        told = child("""
import threading
go, seen = threading.Event(), []
def look():
    go.wait()
    status = open("/proc/thread-self/status").read()
    seen.append(next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:")))
thread = threading.Thread(target=look)
thread.start()
become(user)
go.set()
thread.join()
told(seen=seen[0])
""")
        assert told == {"seen": [str(NOBODY.pw_uid)] * 4}

    def test_the_environment_is_the_users(self) -> None:
        body = "become(user)\ntold(**{name: os.environ[name] for name in ('HOME', 'USER', 'LOGNAME')})"
        told = child(body, HOME="/root", USER="root", LOGNAME="root")
        assert told == {"HOME": NOBODY.pw_dir, "USER": "nobody", "LOGNAME": "nobody"}

    @pytest.mark.parametrize(
        ("who", "prefix", "message"),
        [
            ("pwd.getpwuid(0)", (), "root is root too"),
            ("user", ("setpriv", "--reuid=1", "--clear-groups"), "can't become user nobody"),
            # Such a process keeps its capabilities when its user changes.
            ("user", ("setpriv", "--securebits=+no_setuid_fixup"), "root could be had back"),
        ],
        ids=["root", "not root", "capabilities kept"],
    )
    def test_what_does_not_work_is_told(self, who: str, prefix: tuple[str, ...], message: str) -> None:
        told = child(f"try:\n    become({who})\nexcept StillRoot as error:\n    told(error=str(error))", *prefix)
        assert message in told["error"]

    def test_a_process_that_is_not_root_leaves_its_environment_alone(self) -> None:
        body = "try:\n    become(user)\nexcept StillRoot:\n    told(home=os.environ['HOME'])"
        assert child(body, "setpriv", "--reuid=1", "--clear-groups", HOME="/root") == {"home": "/root"}
