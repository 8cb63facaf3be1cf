"""Plain data back into dataclasses: what the manifest's own tests do not reach."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import ContentMalformed
from imagesmith.formats.canonical import to_plain
from imagesmith.formats.plain import from_plain
from imagesmith.model import Device, DiskLayout, Signature


@dataclass(frozen=True)
class Awkward:
    value: set[str]


@given(st.one_of(st.from_type(Device), st.from_type(DiskLayout), st.from_type(Signature)))
def test_it_is_the_way_back_from_to_plain(value: object):
    assert from_plain(type(value), to_plain(value), "test") == value


def test_fields_with_a_default_may_be_missing():
    found = from_plain(Device, {"path": "/dev/sdx", "name": "sdx", "kind": "disk", "size": 1}, "test")
    assert found == Device("/dev/sdx", "sdx", "disk", 1)


def test_a_place_deep_in_the_document_is_named():
    with pytest.raises(ContentMalformed, match=r"partitions\[0\].size must be a whole number, not '1 GiB'") as caught:
        from_plain(
            DiskLayout,
            {
                "table": "gpt",
                "partitions": [{"role": "esp", "filesystem": "fat32", "label": "E", "size": "1 GiB", "mount": "/"}],
            },
            "layout",
        )
    assert caught.value.where == "layout"
    assert caught.value.hint


def test_a_long_wrong_value_is_cut_in_the_message():
    with pytest.raises(ContentMalformed) as caught:
        from_plain(DiskLayout, {"table": "x" * 10_000, "partitions": []}, "layout")
    assert len(caught.value.what) < 200


def test_a_type_it_does_not_know_is_a_type_error():
    with pytest.raises(TypeError, match="can't be read from plain data"):
        from_plain(Awkward, {"value": []}, "test")
