"""The inventories in examples/ can be planned as they are, with and without what the vault shows of a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.model import BuildPlan
from imagesmith.workflow.planned import plan
from imagesmith.workflow.target import TargetChoice, all_wanted

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DUTIES = {
    "rack": ["founder", "agent", "agent", "agent", "agent"],
    "rack-ha": ["founder", "server", "server", "agent", "agent", "agent"],
    "rack-web": ["founder", "server", "server", "agent"],
}


def plans(name: str, folder: Path) -> list[BuildPlan]:
    choice = TargetChoice(cluster=EXAMPLES / f"{name}.yaml")
    return [plan(one, folder / "imagesmith.lock") for one in all_wanted(choice)]


def test_every_example_is_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == set(DUTIES)


@pytest.mark.parametrize("name", DUTIES)
def test_every_node_has_its_duty(name: str, tmp_path: Path) -> None:
    assert [one.duty for one in plans(name, tmp_path)] == DUTIES[name]


@pytest.mark.parametrize("name", DUTIES)
def test_nothing_is_to_be_minded_but_the_missing_secrets(name: str, tmp_path: Path) -> None:
    for one in plans(name, tmp_path):
        (told,) = one.cautions
        assert "the cluster's secrets are not drawn yet" in told
