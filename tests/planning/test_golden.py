"""Every shipped profile has a golden plan, and plans what it says."""

import difflib
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "golden"
GOLDEN = runpy.run_path(str(FOLDER / "regenerate.py"))
PLANS = GOLDEN["golden_plans"]()
AGAIN = "if the change is meant, run `make golden` and read the difference"


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_plan_is_its_golden_one(name):
    file = FOLDER / name
    assert file.is_file(), f"{name} is missing: {AGAIN}"
    changes = difflib.unified_diff(
        file.read_text().splitlines(), PLANS[name].splitlines(), "golden", "now", lineterm=""
    )
    difference = "\n".join(changes)
    assert not difference, f"{AGAIN}:\n{difference}"


def test_no_golden_plan_is_left_over():
    assert {path.name for path in FOLDER.glob("*.plan.yaml")} == set(PLANS)


def test_the_rack_of_the_examples_is_told_as_its_golden_overview():
    assert (FOLDER / "rack.txt").read_text() == GOLDEN["golden_rack"](), AGAIN


def test_manifests_are_their_golden_ones():
    made = GOLDEN["golden_manifests"]()
    kept = {path.name: path.read_text() for path in (FOLDER / "addons").glob("imagesmith-*.yaml")}
    changes = [line for name in sorted({*made, *kept})
               for line in difflib.unified_diff(kept.get(name, "").splitlines(), made.get(name, "").splitlines(),
                                                f"golden/{name}", f"now/{name}", lineterm="")]  # fmt: skip
    assert not changes, f"{AGAIN}:\n" + "\n".join(changes)
