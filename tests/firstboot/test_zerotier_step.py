"""The step 74-zerotier: the daemon runs as the member that the image was made for, whoever owns its files."""

from __future__ import annotations

import stat

import pytest
from node_folder import NodeFolder

STEP = "steps/74-zerotier"
MEMBER = "8e4df28b72"
SECRET = "var/lib/zerotier-one/identity.secret"
CLI = """\
if [ -f "$ROOT/running" ]; then echo "200 info $(cat "$ROOT/running") 1.16.2 OFFLINE"; else exit 1; fi
"""
SYSTEMCTL = """\
case $1 in
start | restart) [ -f "$ROOT/broken" ] || echo MEMBER >"$ROOT/running" ;;
esac
""".replace("MEMBER", MEMBER)


@pytest.fixture
def made(node: NodeFolder) -> NodeFolder:
    conf = f"ZEROTIER_NETWORK='8056c2e21c000001'\nZEROTIER_MEMBER='{MEMBER}'\nZEROTIER_WAIT_S='1'\n"
    node.write("etc/imagesmith/zerotier.conf", conf)
    node.write(SECRET, "x").chmod(0o644)
    node.stand_in("zerotier-cli", CLI)
    node.stand_in("systemctl", SYSTEMCTL)
    node.stand_in("id", "exit 1")
    return node


def test_a_node_that_is_no_member_has_nothing_to_do(node: NodeFolder) -> None:
    done = node.run(STEP)
    assert (done.returncode, node.calls) == (0, [])


def test_it_is_enabled_and_started_without_waiting_for_its_interfaces(made: NodeFolder) -> None:
    done = made.run(STEP)
    assert done.returncode == 0, done.stderr
    assert f"runs as {MEMBER}" in done.stdout
    assert "systemctl enable zerotier-one.service" in made.calls
    assert "systemctl start --no-block zerotier-one.service" in made.calls


def test_what_its_package_enabled_is_not_enabled_again(made: NodeFolder) -> None:
    made.write("etc/systemd/system/multi-user.target.wants/zerotier-one.service", "")
    assert made.run(STEP).returncode == 0
    assert "systemctl enable zerotier-one.service" not in made.calls


def test_its_secret_is_closed_to_others(made: NodeFolder) -> None:
    made.run(STEP)
    assert stat.S_IMODE((made.root / SECRET).stat().st_mode) == 0o600


def test_the_daemons_own_user_gets_its_files(made: NodeFolder) -> None:
    made.stand_in("id", "exit 0")
    made.run(STEP)
    assert f"chown -R zerotier-one:zerotier-one {made.root}/var/lib/zerotier-one" in made.calls


def test_a_daemon_that_drew_itself_another_identity_is_started_anew(made: NodeFolder) -> None:
    made.write("running", "1111111111")
    assert made.run(STEP).returncode == 0
    assert "systemctl restart --no-block zerotier-one.service" in made.calls


def test_one_that_stays_another_is_told(made: NodeFolder) -> None:
    made.write("running", "1111111111")
    made.write("broken", "")
    done = made.run(STEP)
    assert done.returncode == 1
    assert f"ZeroTier runs as 1111111111, and this node is {MEMBER}" in done.stderr


def test_one_that_does_not_start_is_told(made: NodeFolder) -> None:
    made.write("broken", "")
    done = made.run(STEP)
    assert done.returncode == 1
    assert "journalctl -u zerotier-one.service" in done.stderr


def test_without_its_package_the_step_fails(made: NodeFolder) -> None:
    (made.bin / "zerotier-cli").unlink()
    done = made.run(STEP)
    assert done.returncode == 1
    assert "zerotier-one is not installed" in done.stderr


def test_a_second_run_changes_nothing(made: NodeFolder) -> None:
    made.run(STEP)
    before = made.files()
    assert made.run(STEP).returncode == 0
    assert {path: data for path, data in made.files().items() if path != "running"} == {
        path: data for path, data in before.items() if path != "running"
    }
