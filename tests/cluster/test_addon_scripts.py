"""The catalogue's own scripts, run as a pod runs them, with stand-ins for what only its image has."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "profiles/addons/files"


@dataclass
class Pod:
    folder: Path

    def stand_in(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.folder}/calls\n{script}\n')
        path.chmod(0o755)

    def run(self, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A script, whose own folders are in ours."""
        script = re.sub("/imagesmith/volumes|/tmp|/var/www/html", rf"{self.folder}\g<0>", (SCRIPTS / name).read_text())
        environment = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", **variables}
        return subprocess.run(
            ["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    for folder in ("imagesmith/volumes/program", "imagesmith/volumes/data", "tmp"):
        (tmp_path / folder).mkdir(parents=True)
    return Pod(tmp_path)


@pytest.fixture
def release(pod: Pod) -> dict[str, str]:
    """A release of Moodle, and `curl` that fetches it."""
    made = pod.folder / "release.tgz"
    (pod.folder / "version.php").write_text("<?php")
    with tarfile.open(made, "w:gz") as archive:
        archive.add(pod.folder / "version.php", "moodle/version.php")
    pod.stand_in("curl", f'while [ "$1" != -o ]; do shift; done\ncp {made} "$2"')
    return {
        "RELEASE_URL": "https://download.example/a.tgz",
        "RELEASE_SHA256": hashlib.sha256(made.read_bytes()).hexdigest(),
    }


def test_moodle_is_unpacked_once_and_its_data_given_to_the_web_server_every_time(
    pod: Pod, release: dict[str, str]
) -> None:
    pod.stand_in("chown", "")
    for _ in range(2):
        assert pod.run("moodle/fetch.sh", **release).returncode == 0
    assert (pod.folder / "imagesmith/volumes/program/version.php").exists()
    data = pod.folder / "imagesmith/volumes/data"
    assert [call for call in pod.calls if call.startswith("chown")] == [f"chown www-data:www-data {data}"] * 2
    assert len([call for call in pod.calls if call.startswith("curl")]) == 1


def test_a_nas_that_lets_nobody_give_files_away_is_told_and_moodle_is_not_taken_as_there(
    pod: Pod, release: dict[str, str]
) -> None:
    pod.stand_in("chown", "exit 1")
    done = pod.run("moodle/fetch.sh", **release)
    assert done.returncode == 1 and "on a NAS that is the export's to allow" in done.stderr
    assert not list((pod.folder / "imagesmith/volumes/program").iterdir())


def test_another_release_than_the_one_that_was_pinned_is_not_unpacked(pod: Pod, release: dict[str, str]) -> None:
    pod.stand_in("chown", "")
    assert pod.run("moodle/fetch.sh", **{**release, "RELEASE_SHA256": "ab" * 32}).returncode != 0
    assert not list((pod.folder / "imagesmith/volumes/program").iterdir())


@pytest.fixture
def awhile(pod: Pod) -> Pod:
    """`sleep` that lets a script go around twice."""
    pod.stand_in("sleep", f"[ $(grep -c '^sleep' {pod.folder}/calls) -le 2 ]")
    return pod


@pytest.mark.parametrize("answer", ["exit 0", "exit 22"])
def test_wordpress_is_asked_for_its_work_in_its_own_pod_also_after_it_failed(awhile: Pod, answer: str) -> None:
    awhile.stand_in("curl", answer)
    awhile.run("wordpress/cron.sh", SITE_HOST="blog.home.arpa")
    calls = [call for call in awhile.calls if call.startswith("curl")]
    assert calls == ["curl -fsS -m 240 -o /dev/null -H Host: blog.home.arpa http://127.0.0.1/wp-cron.php"] * 2


def test_drupal_has_a_visitor_that_no_cache_answers(awhile: Pod) -> None:
    awhile.stand_in("curl", "")
    awhile.stand_in("date", f"grep -c '^date' {awhile.folder}/calls")
    awhile.run("drupal/cron.sh")
    asked = [call.split()[-1] for call in awhile.calls if call.startswith("curl")]
    assert asked == ["http://127.0.0.1/?1", "http://127.0.0.1/?2"]


def test_joomlas_tasks_are_run_once_it_is_set_up(awhile: Pod) -> None:
    awhile.stand_in("php", "exit 1")
    awhile.run("joomla/cron.sh")
    assert not [call for call in awhile.calls if call.startswith("php")]
    (awhile.folder / "calls").unlink()
    site = awhile.folder / "var/www/html"
    site.mkdir(parents=True)
    (site / "configuration.php").write_text("<?php")
    awhile.run("joomla/cron.sh")
    tasks = f"php {site}/cli/joomla.php scheduler:run --all --no-interaction"
    assert [call for call in awhile.calls if call.startswith("php")] == [tasks] * 2


def test_moodles_cron_goes_on_after_it_failed(awhile: Pod) -> None:
    awhile.stand_in("php", "exit 1")
    awhile.run("moodle/cron.sh")
    assert len([call for call in awhile.calls if call.startswith("php")]) == 2
