"""The hook that a server's backup runs for databases: dumps there whole or not at all, one failure told at the end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOOK = ROOT / "firstboot/addons/dump-databases"
SCRIPTS = ROOT / "profiles/addons/files/databases"
# A k3s of the tests' own: what it is asked for is written down, and the namespace `broken` fails halfway.
K3S = """\
#!/bin/sh
echo "$*" >>"$CALLS"
cat >/dev/null
echo "dump of $3"
[ "$3" != broken ]
"""


@pytest.fixture
def server(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/k3s").write_text(K3S)
    (tmp_path / "bin/k3s").chmod(0o755)
    (tmp_path / "dumps").mkdir()
    return tmp_path


def run(server: Path, own: str, *lines: str) -> subprocess.CompletedProcess[str]:
    (server / "databases").write_text("".join(f"{line}\n" for line in lines))
    environment = {"PATH": f"{server}/bin:{os.environ['PATH']}", "CALLS": f"{server}/calls",
                   "IMAGESMITH_DATABASES": f"{server}/databases"}  # fmt: skip
    hook = server / f"addon-{own}.sh"
    hook.write_bytes(HOOK.read_bytes())
    return subprocess.run(["sh", hook, server / "dumps"], env=environment, capture_output=True, text=True, check=False)


def dumps(server: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (server / "dumps").iterdir()}


def test_each_database_of_the_add_on_has_its_dump_and_no_others_has(server: Path) -> None:
    assert run(server, "wordpress", "mariadb mariadb", "wordpress database", "wordpress other").returncode == 0
    assert dumps(server) == {"database.dump": "dump of wordpress\n", "other.dump": "dump of wordpress\n"}
    assert {path.stat().st_mode & 0o777 for path in (server / "dumps").iterdir()} == {0o600}


def test_what_it_asks_for_holds_no_password(server: Path) -> None:
    run(server, "wordpress", "wordpress database")
    asked = (server / "calls").read_text()
    assert asked == "kubectl -n wordpress exec statefulset/database -c database -- sh /imagesmith/scripts/dump.sh\n"


def test_one_that_fails_leaves_nothing_half_and_is_told(server: Path) -> None:
    done = run(server, "broken", "broken db")
    assert done.returncode == 1 and done.stderr == "no dump of: db\n"
    assert dumps(server) == {}


@pytest.mark.parametrize(
    ("script", "tool"), [("mariadb", "mariadb-dump"), ("mysql", "mysqldump"), ("mongodb", "mongodump")]
)
def test_in_the_container_the_password_is_among_no_commands_words(tmp_path: Path, script: str, tool: str) -> None:
    told = (
        f'#!/bin/sh\necho "$*" >{tmp_path}/words\nfor one; do case $one in --config=*) cat "${{one#*=}}";; esac; done\n'
    )
    (tmp_path / tool).write_text(told)
    (tmp_path / tool).chmod(0o755)
    variables = {f"{name}_ROOT_PASSWORD": "s3cret" for name in ("MARIADB", "MYSQL", "MONGO_INITDB")}
    done = subprocess.run(
        ["sh", SCRIPTS / f"{script}.sh"], env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **variables},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "s3cret" not in (tmp_path / "words").read_text()
    assert ("s3cret" in done.stdout) == (script == "mongodb")
