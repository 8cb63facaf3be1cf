"""Values enter documents as JSON only; a raw, missing or dangerous one is an error."""

from __future__ import annotations

import pytest
import yaml

from imagesmith.errors import UsageError
from imagesmith.model import Materials
from imagesmith.planning.render import render, to_json


def rendered(template: str, **values: object) -> str:
    return render(Materials({"t.j2": template.encode()}), "t.j2", values).decode()


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "a: b",
        "no",
        "0123",
        'it\'s "quoted" \\ back',
        "two\nlines",
        "# comment",
        "{{ 7 * 7 }}",
        "tab\tdel\x7fnel\x85",
        "grüße 🙂 \u2028",
        ["a", "- b"],
        True,
        7,
    ],
)
def test_yaml_reads_back_what_went_in(value: object) -> None:
    assert yaml.safe_load(rendered("key: {{ value | json }}\n", value=value)) == {"key": value}


def test_tuples_become_lists() -> None:
    assert to_json(("a", "b")) == '["a", "b"]'


def test_a_value_put_in_raw_is_refused() -> None:
    with pytest.raises(UsageError, match="put in raw"):
        rendered("key: {{ value }}\n", value="x")


def test_a_missing_value_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'node' is undefined"):
        rendered("key: {{ node | json }}\n")


@pytest.mark.parametrize("expression", ["''.__class__.__mro__", "value.__init__.__globals__", "cycler.__init__"])
def test_templates_cannot_reach_into_python(expression: str) -> None:
    with pytest.raises(UsageError):
        rendered("{{ (" + expression + ") | json }}", value="x")


def test_a_missing_template_is_named() -> None:
    with pytest.raises(UsageError, match=r"t\.j2 is missing"):
        render(Materials({}), "t.j2", {})
