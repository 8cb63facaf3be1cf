"""From what the user typed to a written card: the image chosen, devices refused, questions asked, outcomes told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from faults.badcard import bad_card
from faults.disks import FAT, call, dirty_disk, loop_device, make_image, map_of, needs_root, random_bytes
from image.made_disks import flip

from imagesmith.errors import ContentMalformed, DeviceRefused, DigestMismatch, Interrupted, ReadbackDiffers, UsageError
from imagesmith.events import Event, Noted
from imagesmith.flash.devices import list_devices
from imagesmith.formats import bmap
from imagesmith.model import Digest, Image
from imagesmith.units import MiB
from imagesmith.workflow.asking import Question
from imagesmith.workflow.built import Built, record_build
from imagesmith.workflow.flash import Outcome, Request, first_failure, flash
from imagesmith.workflow.jobs import Job

pytestmark = needs_root


def with_map(folder: Path, label: str = "dos") -> Path:
    image = make_image(folder / "node-1.img", label)
    (folder / "node-1.bmap").write_text(bmap.encode(map_of(image)))
    return image


def built(folder: Path, *names: str, plan_id: str = "a" * 64) -> None:
    images = []
    for name in names:
        path = folder / f"{name}.img"
        if not path.exists():
            path.write_bytes(random_bytes(MiB, 7))
        images.append(Image(name, path, None, 0, Digest.of(b""), plan_id, path, path))
    record_build(folder, images)


def to_cards(source: str | None, *devices: str) -> tuple[Job, ...]:
    return (Job(source, devices),)


def to_a_file(source: str | None, folder: Path) -> Request:
    card = folder / "a card"
    card.write_bytes(bytes(MiB))
    return Request(to_cards(source, str(card)), folder, to_file=True)


class Voice:
    """Answers every question the same and keeps what it was asked and told."""

    def __init__(self, answer: str = "yes") -> None:
        self.answer = answer
        self.questions: list[Question] = []
        self.events: list[Event] = []

    def ask(self, question: Question) -> str:
        self.questions.append(question)
        return self.answer

    @property
    def notes(self) -> str:
        return "\n".join(event.message for event in self.events if isinstance(event, Noted))

    def run(self, request: Request, plan_id: str = "a" * 64) -> tuple[Outcome, ...]:
        def current(_: Built) -> str:
            return plan_id

        return flash(request, ask=self.ask, current_plan_id=current, listener=self.events.append)


def test_an_image_with_its_map_is_written_to_two_cards_after_two_questions(tmp_path: Path) -> None:
    image, voice = with_map(tmp_path), Voice()
    with (
        loop_device(dirty_disk(tmp_path / "a", 40 * MiB)) as one,
        loop_device(dirty_disk(tmp_path / "b", 33 * MiB)) as two,
    ):
        outcomes = voice.run(Request(to_cards(str(image), one, two), tmp_path))
    assert [outcome.device.path for outcome in outcomes] == [one, two]
    assert all(outcome.receipt and outcome.receipt.written == map_of(image).mapped_bytes for outcome in outcomes)
    assert [question.where for question in voice.questions] == [one, two]
    assert (tmp_path / "b").read_bytes()[:MiB] == image.read_bytes()[:MiB]


def test_a_single_argument_is_the_device_and_the_last_image_is_named_with_its_age(tmp_path: Path) -> None:
    with_map(tmp_path)
    built(tmp_path, "node-1")
    voice = Voice()
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        voice.run(Request(to_cards(None, device), tmp_path))
    assert "node-1, built just now" in voice.notes
    assert "node-1, built just now" in "\n".join(voice.questions[0].facts)


def test_the_question_shows_the_device_and_what_is_lost(tmp_path: Path) -> None:
    image, voice = with_map(tmp_path), Voice("no")
    with loop_device(make_image(tmp_path / "old.img", "gpt"), partitions=True) as device:
        with pytest.raises(Interrupted, match="not confirmed"):
            voice.run(Request(to_cards(str(image), device), tmp_path))
        text = "\n".join(voice.questions[0].facts)
    assert device in text
    assert "32 MiB" in text
    assert f"{Path(device).name}p2" in text


def test_without_the_expected_answer_nothing_is_written_to_any_card(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    for answer in ("", "y", "YES", "loop0"):
        with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device, pytest.raises(Interrupted):
            Voice(answer).run(Request(to_cards(str(image), device), tmp_path))
        assert (tmp_path / "card").read_bytes() == b"\xff" * 40 * MiB


def test_one_bad_card_does_not_stop_the_next_and_decides_the_exit_code(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    with (
        bad_card(tmp_path, dirty_disk(tmp_path / "bad", 40 * MiB)) as bad,
        loop_device(dirty_disk(tmp_path / "good", 40 * MiB)) as good,
    ):
        bad.arm("drop", 4 * MiB, 4 * MiB + 1)
        outcomes = Voice().run(Request(to_cards(str(image), bad.device, good), tmp_path))
    assert [outcome.receipt is not None for outcome in outcomes] == [False, True]
    assert isinstance(first_failure(outcomes), ReadbackDiffers)


def test_every_reason_of_every_device_comes_at_once(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    with (
        loop_device(dirty_disk(tmp_path / "a", 32 * MiB - 512), read_only=True) as one,
        loop_device(dirty_disk(tmp_path / "b", 32 * MiB - 512)) as two,
        pytest.raises(DeviceRefused) as caught,
    ):
        Voice().run(Request(to_cards(str(image), one, two), tmp_path))
    text = str(caught.value)
    assert "3 reasons" in text
    assert f"{one} is read-only" in text
    assert text.count("too small by 512 bytes") == 2
    assert (tmp_path / "b").read_bytes() == b"\xff" * (32 * MiB - 512)


def test_yes_asks_nothing_for_a_loop_device(tmp_path: Path) -> None:
    image, voice = with_map(tmp_path), Voice("never asked")
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        voice.run(Request(to_cards(str(image), device), tmp_path, yes=True))
    assert voice.questions == []


def test_yes_does_not_lift_the_refusal_of_the_system_disk(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    system = next((device for device in list_devices() if device.holds_system and device.kind == "disk"), None)
    if system is None:
        pytest.skip("no disk here holds the system")
    for request in (
        Request(to_cards(str(image), system.path), tmp_path, allow_fixed=True, yes=True),
        Request(to_cards(str(image), system.path), tmp_path, allow_fixed=True),
    ):
        with pytest.raises(DeviceRefused, match="holds the running system"):
            Voice(system.name).run(request)


def test_a_file_is_written_only_with_to_file(tmp_path: Path) -> None:
    image, target = with_map(tmp_path), dirty_disk(tmp_path / "target", 40 * MiB)
    with pytest.raises(DeviceRefused, match="a regular file") as caught:
        Voice().run(Request(to_cards(str(image), str(target)), tmp_path))
    assert "--to-file" in caught.value.hint
    assert target.read_bytes() == b"\xff" * 40 * MiB
    Voice().run(Request(to_cards(str(image), str(target)), tmp_path, to_file=True))
    assert target.read_bytes()[:MiB] == image.read_bytes()[:MiB]


def test_a_path_that_does_not_exist_is_never_created(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    for to_file in (False, True):
        with pytest.raises(DeviceRefused, match="no such"):
            Voice().run(Request(to_cards(str(image), str(tmp_path / "sdz")), tmp_path, to_file=to_file))
    assert not (tmp_path / "sdz").exists()


def test_an_image_is_not_written_over_itself(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    before = image.read_bytes()
    with pytest.raises(DeviceRefused, match="is the image itself"):
        Voice().run(Request(to_cards(str(image), str(image)), tmp_path, to_file=True))
    assert image.read_bytes() == before


def test_the_same_device_twice_is_refused(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (tmp_path / "link").symlink_to(device)
        with pytest.raises(UsageError, match="same device"):
            Voice().run(Request(to_cards(str(image), device, str(tmp_path / "link")), tmp_path))


def test_a_stale_image_is_refused_before_any_question(tmp_path: Path) -> None:
    built(tmp_path, "node-1")
    for source in (None, "node-1"):
        voice = Voice()
        with pytest.raises(UsageError, match="older plan"):
            voice.run(to_a_file(source, tmp_path), plan_id="b" * 64)
        assert voice.questions == []


def test_after_building_all_the_images_are_listed(tmp_path: Path) -> None:
    built(tmp_path, "node-1", "node-2")
    with pytest.raises(UsageError, match="node-1, node-2"):
        Voice().run(to_a_file(None, tmp_path))


def test_an_unknown_source_says_what_there_is(tmp_path: Path) -> None:
    built(tmp_path, "node-1")
    with pytest.raises(UsageError, match="built here: node-1"):
        Voice().run(to_a_file("node-9", tmp_path))


def test_a_map_of_another_image_is_refused_before_the_first_write(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    (tmp_path / "node-1.bmap").write_text(bmap.encode(replace(map_of(image), image_size=33 * MiB)))
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device, pytest.raises(ContentMalformed):
        Voice().run(Request(to_cards(str(image), device), tmp_path))
    assert (tmp_path / "card").read_bytes() == b"\xff" * 40 * MiB


def test_an_image_without_a_map_is_checked_against_sha256sums_while_it_is_read(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 63}1  i.img\n")
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (outcome,) = Voice().run(Request(to_cards(str(image), device), tmp_path))
    assert isinstance(outcome.error, DigestMismatch)
    assert (tmp_path / "card").read_bytes()[:MiB] == bytes(MiB)


def test_a_map_without_digests_does_not_switch_sha256sums_off(tmp_path: Path) -> None:
    image, voice = make_image(tmp_path / "i.img", "dos"), Voice()
    found = map_of(image)
    silent = replace(found, ranges=tuple(replace(part, sha256="") for part in found.ranges))
    (tmp_path / "i.bmap").write_text(bmap.encode(silent))
    (tmp_path / "SHA256SUMS").write_text(f"{Digest.of(image.read_bytes()).hex}  i.img\n")
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (good,) = voice.run(Request(to_cards(str(image), device), tmp_path))
        flip(image, FAT[0] + 5)
        (bad,) = voice.run(Request(to_cards(str(image), device), tmp_path))
    assert good.receipt
    assert isinstance(bad.error, DigestMismatch)
    assert "no sha256 digests" in voice.notes


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_an_image_that_is_cut_short_is_refused_before_the_first_write(tmp_path: Path, label: str) -> None:
    image = make_image(tmp_path / "i.img", label)
    os.truncate(image, 20 * MiB)
    with (
        loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device,
        pytest.raises(ContentMalformed, match=f"cut short: its partition 2 ends at byte {31 * MiB}"),
    ):
        Voice().run(Request(to_cards(str(image), device), tmp_path))
    assert (tmp_path / "card").read_bytes() == b"\xff" * 40 * MiB


def test_an_html_page_is_no_image(tmp_path: Path) -> None:
    page = tmp_path / "i.img"
    page.write_text("<html><body>not found</body></html>")
    with pytest.raises(ContentMalformed, match="an HTML page"):
        Voice().run(to_a_file(str(page), tmp_path))


def listed_in_sums(*paths: Path) -> None:
    lines = [f"{Digest.of(path.read_bytes()).hex}  {path.name}\n" for path in paths]
    (paths[0].parent / "SHA256SUMS").write_text("".join(lines))


def packed_beside(image: Path) -> Path:
    call("zstd", "-q", image)
    return Path(f"{image}.zst")


def test_a_packed_image_of_a_published_set_means_the_raw_one_beside_it(tmp_path: Path) -> None:
    image = with_map(tmp_path)
    packed = packed_beside(image)
    listed_in_sums(image, packed)
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (outcome,) = Voice().run(Request(to_cards(str(packed), device), tmp_path))
    assert outcome.receipt
    assert outcome.record.image == str(image)


@pytest.mark.parametrize("with_sums", [False, True])
def test_a_raw_file_beside_a_packed_image_is_not_taken_for_it(tmp_path: Path, with_sums: bool) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    packed, whole = packed_beside(image), image.read_bytes()
    if with_sums:
        listed_in_sums(packed)
    flip(image, FAT[0] + 5)
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (outcome,) = Voice().run(Request(to_cards(str(packed), device), tmp_path))
    assert outcome.receipt
    assert outcome.record.image == str(packed)
    assert (tmp_path / "card").read_bytes()[: len(whole)] == whole


def test_a_packed_image_is_checked_against_sha256sums(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    packed = packed_beside(image)
    image.unlink()
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 63}1  {packed.name}\n")
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (bad,) = Voice().run(Request(to_cards(str(packed), device), tmp_path))
        assert (tmp_path / "card").read_bytes()[:MiB] == bytes(MiB)
        listed_in_sums(packed)
        (good,) = Voice().run(Request(to_cards(str(packed), device), tmp_path))
    assert isinstance(bad.error, DigestMismatch)
    assert good.receipt


def test_a_packed_image_alone_is_expanded_for_now_and_its_map_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, voice = with_map(tmp_path), Voice()
    mapped = map_of(image).mapped_bytes
    call("zstd", "-q", "--rm", image)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (outcome,) = voice.run(Request(to_cards(str(image) + ".zst", device), tmp_path))
    assert outcome.receipt
    assert outcome.receipt.written == mapped
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_pipe_or_a_disk_as_the_source_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UsageError, match="no regular file"):
            Voice().run(to_a_file(str(source), tmp_path))


def test_a_folder_of_the_targets_name_is_not_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(tmp_path, "node-1")
    (tmp_path / "node-1").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeviceRefused, match="a character device"):
        Voice().run(Request(to_cards("node-1", "/dev/null"), tmp_path))


@pytest.mark.parametrize("right", [True, False])
def test_a_packed_image_under_a_plain_name_is_held_to_the_list_as_it_lies(tmp_path: Path, right: bool) -> None:
    """As Ubuntu publishes its qcow2: SHA256SUMS names the file, not what it holds."""
    raw = make_image(tmp_path / "raw", "dos")
    image = tmp_path / "cloud.img"
    call("qemu-img", "convert", "-O", "qcow2", raw, image)
    digest = Digest.of(image.read_bytes() if right else b"another").hex
    (tmp_path / "SHA256SUMS").write_text(f"{digest} *cloud.img\n")
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (outcome,) = Voice().run(Request(to_cards(str(image), device), tmp_path))
    assert isinstance(outcome.error, DigestMismatch) is not right
    assert (outcome.receipt is not None) is right


def test_an_image_of_unknown_size_that_is_cut_short_does_not_boot(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with image.open("r+b") as file:
        file.truncate(20 * MiB)
    call("gzip", image)
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        (outcome,) = Voice().run(Request(to_cards(f"{image}.gz", device), tmp_path))
    assert isinstance(outcome.error, ContentMalformed)
    assert "cut short" in outcome.error.what
    assert (tmp_path / "card").read_bytes()[:MiB] == bytes(MiB)
