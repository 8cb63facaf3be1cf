"""The runner: order, markers, attempts, needs, and what it leaves for a person to read."""

from __future__ import annotations

import pytest
from node_folder import NodeFolder

COUNTING = '#!/bin/sh\necho x >>"$ROOT/count-{name}"\nexit {code}\n'


def counting(node: NodeFolder, name: str, code: int = 0) -> None:
    node.add_step(name, COUNTING.format(name=name, code=code))


def count(node: NodeFolder, name: str) -> int:
    return len(node.read(f"count-{name}").splitlines()) if node.exists(f"count-{name}") else 0


def test_steps_run_in_the_order_of_their_names(bare: NodeFolder) -> None:
    for name in ("30-last", "10-first", "20-middle"):
        bare.add_step(name, f'#!/bin/sh\necho {name} >>"$ROOT/order"\n')
    assert bare.run("run").returncode == 0
    assert bare.read("order").split() == ["10-first", "20-middle", "30-last"]


def test_a_step_that_is_done_is_not_run_again(bare: NodeFolder) -> None:
    counting(bare, "10-once")
    assert [bare.run("run").returncode, bare.run("run").returncode] == [0, 0]
    assert count(bare, "10-once") == 1


def test_a_failing_step_is_tried_as_often_as_configured(bare: NodeFolder) -> None:
    bare.configure(STEP_WAIT_S="0", STEP_TRIES="4")
    counting(bare, "10-bad", 1)
    assert bare.run("run").returncode != 0
    assert count(bare, "10-bad") == 4


def test_a_step_may_say_how_often_it_is_tried(bare: NodeFolder) -> None:
    bare.add_step("10-bad", '#!/bin/sh\n# tries: 1\necho x >>"$ROOT/count-10-bad"\nexit 1\n')
    bare.run("run")
    assert count(bare, "10-bad") == 1


def test_a_step_that_fails_once_is_done_after_the_second_attempt(bare: NodeFolder) -> None:
    bare.add_step("10-shy", '#!/bin/sh\n[ -e "$ROOT/seen" ] && exit 0\n: >"$ROOT/seen"\nexit 1\n')
    assert bare.run("run").returncode == 0
    assert "tries=2" in bare.read("var/lib/imagesmith/steps/10-shy")


def test_a_failed_step_does_not_stop_independent_later_ones(bare: NodeFolder) -> None:
    counting(bare, "10-bad", 1)
    counting(bare, "20-good")
    assert bare.run("run").returncode != 0
    assert count(bare, "20-good") == 1


def test_a_step_waits_for_what_it_needs(bare: NodeFolder) -> None:
    counting(bare, "10-bad", 1)
    bare.add_step("20-after", '#!/bin/sh\n# needs: 10-bad\necho x >>"$ROOT/count-20-after"\n')
    result = bare.run("run")
    assert count(bare, "20-after") == 0
    assert "20-after: waits for 10-bad" in result.stdout


def test_the_next_boot_goes_on_where_this_one_failed(bare: NodeFolder) -> None:
    counting(bare, "10-good")
    counting(bare, "20-mended", 1)
    bare.run("run")
    counting(bare, "20-mended", 0)
    assert bare.run("run").returncode == 0
    assert count(bare, "10-good") == 1


def test_a_step_that_hangs_is_stopped(bare: NodeFolder) -> None:
    bare.add_step("10-hangs", "#!/bin/sh\n# tries: 1\n# timeout: 1\nsleep 50\n")
    result = bare.run("run")
    assert result.returncode != 0
    assert "took longer than 1 s" in result.stdout


def test_a_step_cannot_read_the_runners_input_or_wait_for_a_person(bare: NodeFolder) -> None:
    bare.add_step("10-asks", "#!/bin/sh\n! read -r answer\n")
    assert bare.run("run").returncode == 0


def test_what_a_step_says_is_in_the_journal_and_in_the_log(bare: NodeFolder) -> None:
    bare.add_step("10-talks", "#!/bin/sh\necho out\necho err >&2\nprintf unfinished\n")
    result = bare.run("run")
    for text in ("10-talks: out", "10-talks: err", "10-talks: unfinished"):
        assert text in result.stdout
        assert text in bare.read("var/log/imagesmith/firstboot.log")


@pytest.mark.parametrize(("code", "state", "left"), [(0, "done", 0), (1, "failed", 1)])
def test_the_status_says_how_it_went(bare: NodeFolder, code: int, state: str, left: int) -> None:
    counting(bare, "10-only", code)
    bare.run("run")
    assert bare.read("var/lib/imagesmith/status").splitlines() == [
        f"state={state}",
        f"left={left}",
        f"step.10-only={state}",
    ]


def test_files_that_are_no_steps_are_left_alone(bare: NodeFolder) -> None:
    bare.add_step("README", "#!/bin/sh\nexit 1\n")
    bare.add_step("10-step.dpkg-old", "#!/bin/sh\nexit 1\n")
    counting(bare, "20-step")
    assert bare.run("run").returncode == 0
    assert count(bare, "20-step") == 1


def test_settings_that_are_no_numbers_count_as_absent(bare: NodeFolder) -> None:
    bare.configure(STEP_TRIES="$(touch pwned)", STEP_WAIT_S="0")
    counting(bare, "10-bad", 1)
    bare.run("run")
    assert count(bare, "10-bad") == 3


def test_a_log_that_cannot_be_written_stops_nothing(bare: NodeFolder) -> None:
    (bare.root / "var/log/imagesmith/firstboot.log").mkdir(parents=True)
    counting(bare, "10-good")
    assert bare.run("run").returncode == 0


# -- cloud-init before us -----------------------------------------------------------------------------------

KEPT = "var/lib/imagesmith/cloud-init-kept"


def test_it_notes_that_all_of_cloud_init_is_on_the_disk(bare: NodeFolder) -> None:
    bare.write("var/lib/cloud/instance/boot-finished", "")
    bare.stand_in("sync", 'exec /bin/sync "$@"')
    assert bare.run("run").returncode == 0
    assert bare.exists(KEPT)
    state = bare.root / "var/lib/imagesmith"
    # The whole file system, and before the note: it is what the note says.
    assert bare.calls.index(f"sync -f {state}") < bare.calls.index(f"sync {bare.root / KEPT}.new")


def test_a_cloud_init_that_has_not_finished_is_not_noted(bare: NodeFolder) -> None:
    bare.write("var/lib/cloud/instance/obj.pkl", "")
    assert bare.run("run").returncode == 0
    assert not bare.exists(KEPT)


def test_where_it_is_noted_nothing_is_synced_again(bare: NodeFolder) -> None:
    bare.write("var/lib/cloud/instance/boot-finished", "")
    assert bare.run("run").returncode == 0
    bare.stand_in("sync", 'exec /bin/sync "$@"')
    assert bare.run("run").returncode == 0
    assert not [call for call in bare.calls if call.startswith("sync -f")]
