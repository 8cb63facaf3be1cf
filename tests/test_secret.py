"""A secret shows itself nowhere but where it is asked to."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest

from imagesmith.formats.canonical import to_plain
from imagesmith.model import PutFile
from imagesmith.secret import Secret, SecretRef

VALUE = b"K10c0ffee::server:hunter2"


def shown(text: object) -> bool:
    return "hunter2" in str(text)


def test_it_is_there_when_asked() -> None:
    assert Secret(VALUE).reveal() == VALUE


@pytest.mark.parametrize(
    "text",
    [
        str(Secret(VALUE)),
        repr(Secret(VALUE)),
        f"{Secret(VALUE)}",
        f"{Secret(VALUE)!r:>40}",
        "%s" % Secret(VALUE),  # noqa: UP031
        repr([Secret(VALUE)]),
        repr({"token": Secret(VALUE)}),
    ],
)
def test_no_way_of_printing_shows_it(text: str) -> None:
    assert "***" in text
    assert not shown(text)


def test_a_log_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("x").error("token %s", Secret(VALUE))
    assert "***" in caplog.text
    assert not shown(caplog.text)


def test_a_traceback_does_not_show_it() -> None:
    try:
        raise ValueError(Secret(VALUE))
    except ValueError:
        text = traceback.format_exc()
    assert "***" in text
    assert not shown(text)


def test_it_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(VALUE))


def test_it_is_not_copied() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(Secret(VALUE))


def test_it_does_not_become_json() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret(VALUE))


def test_it_has_no_place_in_a_plan() -> None:
    with pytest.raises(TypeError, match="Secret") as caught:
        to_plain({"token": Secret(VALUE)})
    assert not shown(caught.value)


def test_nothing_can_be_hung_on_it() -> None:
    with pytest.raises(AttributeError):
        Secret(VALUE).note = "x"  # type: ignore[attr-defined]


def test_a_name_of_a_secret_is_all_that_a_plan_holds() -> None:
    plain = to_plain(PutFile("root", "/etc/token", SecretRef("k3s-token"), 0o600))
    assert isinstance(plain, dict)
    assert plain["content"] == {"kind": "SecretRef", "name": "k3s-token"}
