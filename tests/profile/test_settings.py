"""`--set KEY=VALUE`: settings and network fields by name, with the checks of the inventory."""

import dataclasses

import pytest

from imagesmith.errors import UsageError
from imagesmith.model import Network, Node, Settings
from imagesmith.profile.settings import NETWORK, SETTINGS, with_overrides

NODE = Node("node-1", "toy-worker")


def test_every_setting_can_be_written():
    # A password and Wi-Fi name secrets, see PERSONAL.
    assert set(SETTINGS) == {field.name for field in dataclasses.fields(Settings)} - {"password"}
    assert set(NETWORK) == {field.name for field in dataclasses.fields(Network)} - {"wifi"}


def test_overrides_have_their_types():
    node = with_overrides(
        NODE,
        {
            "zram_percent": "25",
            "journal_max": "16MiB",
            "sudo_nopasswd": "false",
            "time_servers": "a.example, 192.168.1.1",
            "timezone": "UTC",
            "address": "10.0.0.5/24",
            "gateway": "10.0.0.1",
            "mac": "DC:A6:32:01:02:03",
        },
    )
    assert node.settings == Settings(
        zram_percent=25,
        journal_max=16 * 1024 * 1024,
        sudo_nopasswd=False,
        time_servers=("a.example", "192.168.1.1"),
        timezone="UTC",
    )
    assert node.network == Network("10.0.0.5/24", "10.0.0.1", (), "dc:a6:32:01:02:03")


def test_no_override_changes_nothing():
    assert with_overrides(NODE, {}) == NODE


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("zram", "25", "did you mean 'zram_percent'?"),
        ("zram_percent", "many", "'many' is not a whole number"),
        ("zram_percent", "", "nothing"),
        ("sudo_nopasswd", "maybe", "neither true nor false"),
        ("time_servers", "a,;reboot", "is not a server"),
        ("address", "10.0.0.5", "lacks the prefix length"),
        ("gateway", "10.0.0.1", "a gateway needs an address"),
        ("ssh_keys", "x", "use --ssh-key FILE"),
        ("name", "x", "there is no setting 'name'"),
    ],
)
def test_a_wrong_override_is_refused(key, value, complaint):
    with pytest.raises(UsageError) as caught:
        with_overrides(NODE, {key: value})
    assert complaint in str(caught.value)
    assert key in str(caught.value)


def test_all_wrong_overrides_come_at_once():
    with pytest.raises(UsageError) as caught:
        with_overrides(NODE, {"zram": "1", "journal_max": "x"})
    assert str(caught.value).count("--set") == 2
