"""The guest's report: what is believed, what is not, and what of it keeps a promise."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.boot.report import MOST_FACTS, BootReport, Broken, ReportReader, as_facts, digest, judge, plain, show
from imagesmith.model import Promise

NONCE = "5f3c9a0e"
FACTS = {"hostname": "node-1", "cmdline": "root=LABEL=r console=tty0 a=b", "failed_units": "", "unit.ssh.service": "x"}


def told(facts: Mapping[str, str], nonce: str = NONCE) -> list[bytes]:
    """What firstboot/report prints for these facts, line by line."""
    body = [f"{key}={value}".encode() for key, value in facts.items()]
    end = hashlib.sha256(b"".join(line + b"\n" for line in body) + nonce.encode()).hexdigest()
    prefix = f"IMAGESMITH {nonce} ".encode()
    return [prefix + b"BEGIN", *(prefix + line for line in body), prefix + f"END {len(body)} {end}".encode()]


def read(lines: list[bytes], nonce: str = NONCE) -> Mapping[str, str] | None:
    reader = ReportReader(nonce)
    found = [facts for line in lines if (facts := reader.feed(line)) is not None]
    return found[0] if found else None


def test_a_whole_report_is_read() -> None:
    assert read(told(FACTS)) == FACTS


keys = st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
noise = st.sampled_from(
    [
        b"",
        b"[   12.345678] usb 1-1: new device",
        b"\x1b[0;32m  OK  \x1b[0m Started ssh.service",
        b"IMAGESMITH",
        b"IMAGESMITH otherno BEGIN",
        b"IMAGESMITH otherno hostname=evil",
        b"login: ",
        b"\xff\xfe\x00",
    ]
)


@given(st.dictionaries(keys, values, max_size=15), st.data())
def test_lines_of_others_between_its_own_do_no_harm(facts: dict[str, str], data: st.DataObject) -> None:
    lines: list[bytes] = []
    for line in told(facts):
        lines += [*data.draw(st.lists(noise, max_size=3)), line]
    assert read(lines) == facts


@given(st.sampled_from([b"[  OK  ] Star", b"\r\x1b[K[ *** ] (1 of 2) Job x", b"\x1b]8;;file:///x\x07", b"\x1b[0m"]))
def test_text_that_stands_before_a_line_does_no_harm(before: bytes) -> None:
    assert read([before + line for line in told(FACTS)]) == FACTS


@given(st.data())
def test_a_pass_that_lost_or_garbled_a_line_is_not_believed(data: st.DataObject) -> None:
    lines = told(FACTS)
    victim = data.draw(st.integers(1, len(lines) - 2))
    garbled = data.draw(st.sampled_from(["drop", "double", "cut", "insert"]))
    line = lines[victim]
    lines[victim : victim + 1] = {
        "drop": [],
        "double": [line, line],
        "cut": [line[:-1]],
        "insert": [line[:-1] + b"[ 9.1] x" + line[-1:]],
    }[garbled]
    assert read(lines) is None


@given(st.integers(0, len(FACTS) + 1))
def test_a_pass_that_was_torn_off_is_followed_by_one_that_counts(length: int) -> None:
    torn = told(dict.fromkeys(FACTS, "torn"))[:length]
    assert read(torn + told(FACTS)) == FACTS


def test_a_replayed_transcript_of_another_run_is_not_believed() -> None:
    assert read(told(FACTS, "0ld0ld00")) is None


def test_an_old_report_under_the_new_nonce_is_not_believed() -> None:
    old = [line.replace(b"0ld0ld00", NONCE.encode()) for line in told(FACTS, "0ld0ld00")]
    assert read(old) is None


def test_an_echo_of_the_nonce_is_not_believed() -> None:
    assert read([f"IMAGESMITH {NONCE} {word}".encode() for word in ("BEGIN", "hello=1", "END")]) is None


def test_a_changed_fact_is_not_believed() -> None:
    lines = [line.replace(b"=node-1", b"=node-2") for line in told(FACTS)]
    assert read(lines) is None


def test_a_digest_without_the_nonce_is_not_believed() -> None:
    lines = told(FACTS)
    lines[-1] = (
        f"IMAGESMITH {NONCE} END {len(FACTS)} ".encode()
        + digest([f"{k}={v}".encode() for k, v in FACTS.items()], "").encode()
    )
    assert read(lines) is None


def test_a_report_that_names_a_fact_twice_is_not_believed() -> None:
    body = [b"hostname=a", b"hostname=b"]
    prefix = f"IMAGESMITH {NONCE} ".encode()
    lines = [prefix + b"BEGIN", *(prefix + line for line in body)]
    lines.append(prefix + f"END 2 {digest(body, NONCE)}".encode())
    assert read(lines) is None


def test_an_endless_report_takes_bounded_memory_and_is_not_believed() -> None:
    assert read(told({f"k{n}": "v" for n in range(MOST_FACTS + 1)})) is None


def test_a_torn_report_says_what_was_wrong_with_it() -> None:
    reader = ReportReader(NONCE)
    for line in [*told(FACTS)[:2], *told(FACTS)[3:]]:
        reader.feed(line)
    assert reader.complaint == "3 lines of a report came, its end announced 4"


def test_control_sequences_are_removed() -> None:
    assert plain(b"\x1b[0;1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b(B\x1bM end") == b"red link end"


@pytest.mark.parametrize(
    ("promise", "kept"),
    [
        (Promise("hostname", "equals", "node-1"), True),
        (Promise("hostname", "equals", "node-10"), False),
        (Promise("hostname", "equals", "node"), False),
        (Promise("nothing", "equals", ""), False),
        (Promise("failed_units", "equals", ""), True),
        (Promise("root_size", "at_least", "4000000000"), True),
        (Promise("root_size", "at_least", "5000000000"), False),
        (Promise("size9", "at_least", "10"), False),
        (Promise("hostname", "at_least", "1"), False),
        (Promise("nothing", "at_least", "0"), False),
        (Promise("hostname", "present"), True),
        (Promise("failed_units", "present"), False),
        (Promise("nothing", "present"), False),
        (Promise("failed_units", "absent"), True),
        (Promise("nothing", "absent"), True),
        (Promise("hostname", "absent"), False),
    ],
)
def test_a_promise_is_kept_or_broken(promise: Promise, kept: bool) -> None:
    facts = {"hostname": "node-1", "failed_units": "", "root_size": "4200000000", "size9": "9"}
    assert judge([promise], facts) == (((promise,), ()) if kept else ((), (Broken(promise, facts.get(promise.fact)),)))


def test_every_broken_promise_is_told_with_what_was_found() -> None:
    promises = [Promise("a", "equals", "1", "it matters"), Promise("b", "present"), Promise("c", "equals", "3")]
    kept, broken = judge(promises, {"a": "2", "c": "3"})
    assert kept == (promises[2],)
    assert [str(one) for one in broken] == [
        "promised: a is 1 (it matters); the guest says '2'",
        "promised: b is there; the guest did not report it",
    ]


def test_a_promise_of_nothing_is_told_as_such() -> None:
    _, broken = judge([Promise("failed_units", "equals", "")], {"failed_units": "a.service"})
    assert str(broken[0]) == "promised: failed_units is empty; the guest says 'a.service'"


def report(**changes: object) -> BootReport:
    values: dict[str, object] = {
        "passed": True,
        "machine": "virt",
        "facts": {"hostname": "node-1"},
        "kept": (Promise("hostname", "equals", "node-1"),),
        "broken": (),
        "seconds": {"kernel": 2.1, "userspace": 9.0, "report": 31.4},
        "borrowed": ("the kernel",),
        "unproven": ("the Pi's firmware",),
        "powered_off": True,
        "transcript": Path("/out/node-1.console.log"),
    }
    return BootReport(**{**values, **changes})  # type: ignore[arg-type]


def test_the_first_line_is_the_verdict() -> None:
    assert show(report()).splitlines()[0] == (
        "node-1 booted on virt: 1 of 1 promises kept, 31 s to the end of its first boot"
    )


def test_a_broken_promise_changes_the_first_line() -> None:
    text = show(report(passed=False, broken=(Broken(Promise("x", "present"), None),)))
    assert text.startswith("node-1 did NOT keep its promises on virt: 1 of 2")


def test_the_report_says_what_was_borrowed_and_what_it_does_not_prove() -> None:
    text = show(report())
    assert "borrowed  the kernel" in text
    assert "unproven  the Pi's firmware" in text


def test_a_report_without_promises_says_that_it_shows_little() -> None:
    assert "nothing was promised" in show(report(kept=()))


def test_the_report_is_plain_data() -> None:
    import json

    broken = (Broken(Promise("x", "equals", "1"), "2"),)
    told_again = json.loads(json.dumps(as_facts(report(passed=False, broken=broken))))
    assert told_again["broken"] == [{"fact": "x", "relation": "equals", "value": "1", "because": "", "found": "2"}]
    assert told_again["transcript"] == "/out/node-1.console.log"
