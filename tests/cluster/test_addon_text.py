"""What becomes of objects as texts of YAML: the same objects again, whatever a value holds, and secrets by name."""

from __future__ import annotations

import pytest
import yaml
from cluster.addon_wishes import EVERYTHING, all_objects, texts_of
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.cluster.addons.yaml_text import yaml_text
from imagesmith.formats.credentials import revealed
from imagesmith.secret import Quoted, Secret, SecretRef

# What YAML can't write at all is no text: halves of surrogate pairs.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
# Kubernetes' keys are shorter than the 1024 characters, escapes counted, that YAML lets a key have on its line.
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def written(*objects: dict[str, object], secret: bytes = b"") -> str:
    return revealed(yaml_text(objects), lambda ref: Secret(secret)).reveal().decode("ascii")


def flat(value: object) -> object:
    """Without lists in lists, which no object of Kubernetes has here."""
    if isinstance(value, dict):
        return {key: flat(child) for key, child in value.items()}
    if isinstance(value, list):
        return [flat(child) for child in value if not isinstance(child, list)]
    return value


@given(st.dictionaries(KEYS, VALUES.map(flat), min_size=1, max_size=5))
def test_it_is_read_as_what_it_was(value: dict[str, object]) -> None:
    assert list(yaml.safe_load_all(written(value))) == [value]


@pytest.mark.parametrize(
    "text",
    ["a: b", "- x", "{{ secret }}", "$(id)", '" injected: true #', "line\nline\n", " led by a space\nb\n", "yes", "1.0",
     "0x1F", "~", "trailing \nspace\n", "\ttab\nb\n", "a\n\nb\n", "no end\nat all", "\n", "---\n...\n", "é\nb\n"],
)  # fmt: skip
def test_a_text_stays_a_text(text: str) -> None:
    made = written({"spec": {"value": text, "list": [text, {"inner": text}]}})
    assert yaml.safe_load(made) == {"spec": {"value": text, "list": [text, {"inner": text}]}}


def test_scripts_are_readable_lines() -> None:
    assert written({"data": {"a.sh": "set -eu\n\nls  # here\n"}}).endswith(
        "a.sh: |\n    set -eu\n\n    ls  # here\n".replace("a.sh", "  a.sh")
    )


def test_a_secret_is_there_by_its_name_until_it_is_written() -> None:
    text = yaml_text([{"stringData": {"root": SecretRef("vault:addons/mariadb/root")}}])
    assert [part.ref.name for part in text.parts if isinstance(part, Quoted)] == ["vault:addons/mariadb/root"]
    made = revealed(text, lambda ref: Secret(b'a"b\\c: #\xc3\xa9')).reveal().decode()
    assert yaml.safe_load(made) == {"stringData": {"root": 'a"b\\c: #é'}}


def test_nothing_else_has_a_place_there() -> None:
    with pytest.raises(TypeError, match="Secret"):
        yaml_text([{"stringData": {"root": Secret(b"x")}}])


def test_manifests_are_read_as_the_objects_that_they_were_made_of() -> None:
    read = [one for text in texts_of(EVERYTHING).values() for one in yaml.safe_load_all(text)]
    made = all_objects(EVERYTHING)
    assert [one for one in read if one["kind"] != "Secret"] == [one for one in made if one["kind"] != "Secret"]
