"""A vault's host keys in each family's edits: put once, by name, after what removes an image's own, and promised."""

from __future__ import annotations

from dataclasses import replace

import pytest
from families.test_families import given, profile

from imagesmith.families import FAMILIES, family_named
from imagesmith.families.family import Given
from imagesmith.model import Edit, PutFile, Remove, SealedHostKey
from imagesmith.secret import SecretRef

KEYS = tuple(
    SealedHostKey(kind, SecretRef(f"vault:nodes/node-1/host-key.{kind}"), f"ssh-{kind} AAAA", f"SHA256:{kind}")
    for kind in ("ed25519", "ecdsa")
)
each_family = pytest.mark.parametrize("family", FAMILIES)


def kept(family: str) -> Given:
    return replace(given(profile(family)), host_keys=KEYS)


def about_keys(edits: tuple[Edit, ...]) -> list[Edit]:
    return [edit for edit in edits if edit.path.startswith("/etc/ssh/ssh_host_")]


@each_family
def test_both_halves_of_each_key_are_put_and_no_later_edit_takes_them_away(family: str) -> None:
    last = {edit.path: edit for edit in about_keys(family_named(family).edits(kept(family)))}
    for key in KEYS:
        path = f"/etc/ssh/ssh_host_{key.kind}_key"
        assert last[path] == PutFile("root", path, key.private, 0o600)
        assert last[f"{path}.pub"] == PutFile("root", f"{path}.pub", f"{key.public}\n".encode(), 0o644)


@each_family
def test_without_a_vault_no_key_is_put(family: str) -> None:
    assert all(isinstance(edit, Remove) for edit in about_keys(family_named(family).edits(given(profile(family)))))


@each_family
def test_the_very_key_is_promised(family: str) -> None:
    with_vault = {promise.fact: promise for promise in family_named(family).promises(kept(family))}
    without = {promise.fact: promise for promise in family_named(family).promises(given(profile(family)))}
    assert (with_vault["host_key.ed25519"].relation, with_vault["host_key.ed25519"].value) == (
        "equals",
        "SHA256:ed25519",
    )
    assert without["host_key.ed25519"].relation == "present"
    assert with_vault.keys() == without.keys()


@each_family
def test_no_settings_of_cloud_inits_would_remove_them(family: str) -> None:
    texts = [
        edit.content
        for edit in family_named(family).edits(kept(family))
        if isinstance(edit, PutFile) and isinstance(edit.content, bytes) and edit.path.endswith((".cfg", "user-data"))
    ]
    assert not any(b"ssh_deletekeys: true" in text for text in texts)
    if any("/etc/cloud/" in edit.path for edit in family_named(family).edits(given(profile(family)))):
        assert any(b"ssh_deletekeys: false" in text for text in texts)
