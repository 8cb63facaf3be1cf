"""A build says when nobody could become root on the node: it has no password, and sudo asks for one."""

from __future__ import annotations

import pytest
from building import Workshop

WARNING = "nobody can become root on mine"


def test_a_user_without_a_password_can_not_answer_sudo(shop: Workshop) -> None:
    done = shop.build("./mine.yaml", "--ssh-key", "key.pub")
    assert WARNING in done.err
    assert "password_file" in done.err


@pytest.mark.parametrize("way", ["sudo_nopasswd", "password_file"])
def test_either_way_to_become_root_is_enough(shop: Workshop, way: str) -> None:
    secret = shop.folder / "admin.hash"
    secret.write_text("$6$saltsalt$" + "a" * 86 + "\n")
    secret.chmod(0o600)
    settings = {"sudo_nopasswd": "sudo_nopasswd: true", "password_file": "password_file: admin.hash"}[way]
    shop.inventory(f"schema: 1\nname: home\ndefaults:\n  {settings}\nnodes:\n  - {{name: mine, profile: mine}}\n")
    done = shop.build("mine", "--cluster", "cluster.yaml", "--ssh-key", "key.pub")
    assert WARNING not in done.err
