"""init, profiles and plan from the command line: what is printed, and in which form."""

import json

import click
import pytest
from click.testing import CliRunner

from imagesmith.cli.options import complete_target, json_option, target_argument, target_options
from imagesmith.cli.plan import init_command, plan_command, profiles_group
from imagesmith.errors import UsageError
from imagesmith.model import Digest
from imagesmith.sources.cache import Cache
from imagesmith.sources.lock import Lock, LockEntry, write
from imagesmith.sources.promise import remember
from imagesmith.workflow.target import TargetChoice, catalogue_near

COMMANDS = {"init": init_command, "profiles": profiles_group, "plan": plan_command}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def run(*words):
    group = click.Group("imagesmith", commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
    return CliRunner().invoke(group, words, catch_exceptions=False, prog_name="imagesmith")


@pytest.mark.parametrize("words", [("init",), ("profiles",), ("profiles", "show"), ("plan",)])
def test_help_has_an_example_within_80_columns(words):
    text = run(*words, "--help").output
    assert f"\n    imagesmith {' '.join(words)}" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_plan_in_words():
    result = run("plan", "qemu-x86-worker", "--set", "zram_percent=25", "--hostname", "kitchen")
    assert result.exit_code == 0
    assert result.output.startswith("kitchen: qemu-x86-worker (qemu-x86, amd64), k3s worker, standalone")


def test_plan_as_json_is_one_line():
    result = run("plan", "qemu-x86-worker", "--json", "--set", "timezone=Europe/Berlin")
    (line,) = result.output.splitlines()
    facts = json.loads(line)["result"]
    assert len(facts["id"]) == 64
    assert facts["plan"]["node"]["settings"]["timezone"] == "Europe/Berlin"


def test_plan_looks_into_the_cache(inside, monkeypatch):
    monkeypatch.setenv("IMAGESMITH_CACHE", str(inside / "cache"))
    assert "fetches       525 MiB: the base is not in the cache" in run("plan", "rpi4-worker").output
    assert not (inside / "cache").exists()
    before = json.loads(run("plan", "rpi4-worker", "--json").output)["result"]
    cache, digest = Cache(inside / "cache"), Digest.parse(before["plan"]["base"]["source"]["digest"])
    with cache.scratch("raw", digest.hex) as folder:
        (folder / "made").write_bytes(b"a base")
        cache.publish("raw", digest.hex, folder / "made", Digest.of(b"a base"), {})
    assert "the base is not in the cache" in run("plan", "rpi4-worker").output  # nobody has vouched for it
    remember(digest, before["plan"]["base"]["source"]["signature"]["fingerprints"][0], cache)
    assert "fetches       nothing: the base is in the cache" in run("plan", "rpi4-worker").output
    after = json.loads(run("plan", "rpi4-worker", "--json").output)["result"]
    assert (before["fetch_bytes"], after["fetch_bytes"]) == (550466056, 0)
    assert before["id"] == after["id"]


def test_plan_takes_keys_from_a_file(inside):
    (inside / "a.pub").write_text(KEY)
    assert "with 1 SSH key" in run("plan", "qemu-x86-worker", "--ssh-key", "a.pub").output


@pytest.mark.parametrize("pair", ["zram_percent", "=25", ""])
def test_a_setting_without_a_value_is_refused(pair):
    result = run("plan", "qemu-x86-worker", "--set", pair)
    assert result.exit_code == 2
    assert "is not KEY=VALUE" in result.output


def test_a_setting_given_twice_is_refused():
    result = run("plan", "qemu-x86-worker", "--set", "user=a", "--set", "user=b")
    assert (result.exit_code, "'user' is set twice" in result.output) == (2, True)


def test_a_value_may_hold_an_equals_sign():
    with pytest.raises(UsageError, match="'a=b' is not a user name"):
        run("plan", "qemu-x86-worker", "--set", "user=a=b")


def test_profiles_are_listed_within_100_columns():
    lines = run("profiles").output.splitlines()
    assert lines[0].split() == ["PROFILE", "ROLE", "BASES", "BOOT", "TEST", "BOARD"]
    assert [line.split()[0] for line in lines[1:]] == sorted(catalogue_near(None).profiles)
    assert max(map(len, lines)) <= 100


def test_profiles_as_json():
    listed = json.loads(run("profiles", "--json").output)["result"]["profiles"]
    assert {profile["name"]: profile["role"] for profile in listed}["x86-master"] == "server"


@pytest.mark.parametrize("name", sorted(catalogue_near(None).profiles))
def test_a_profile_is_shown(name):
    assert run("profiles", "show", name).output.startswith(f"{name}: ")
    assert json.loads(run("profiles", "show", name, "--json").output)["result"]["name"] == name


def test_json_before_show_counts_too():
    assert json.loads(run("profiles", "--json", "show", "rpi4-worker").output)["result"]["name"] == "rpi4-worker"


def test_source_date_epoch_is_in_the_plan(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    assert json.loads(run("plan", "qemu-x86-worker", "--json").output)["result"]["plan"]["epoch"] == 1_600_000_000


def test_a_profile_beside_is_known_without_an_inventory(inside):
    (inside / "profiles").mkdir()
    (inside / "profiles/mine.yaml").write_text("schema: 1\ntitle: Mine\nboard: rpi4\nrole: worker\n")
    for words in (("plan", "mine", "--no-cluster"), ("plan", "mine"), ("profiles", "show", "mine")):
        assert run(*words).output.startswith("mine: ")


def test_an_unknown_profile_is_refused():
    with pytest.raises(UsageError, match="did you mean 'rpi4-worker'"):
        run("profiles", "show", "rpi4-wroker")


def test_init_writes_an_inventory_that_plan_reads(inside):
    assert "cluster.yaml is written" in run("init").output
    told = run("plan", "node-2").output
    assert told.startswith("node-2: rpi4-worker (rpi4, arm64), k3s agent, node of the cluster home")


def test_init_as_json(inside):
    assert json.loads(run("init", "there", "--json").output) == {
        "result": {"inventory": "there/cluster.yaml", "ssh_keys": 0}
    }


def test_a_command_gets_one_choice():
    seen = []

    @click.command("build")
    @target_argument
    @target_options
    @json_option
    def build(choice, as_json):
        seen.append((choice, as_json))

    CliRunner().invoke(build, ["node-1", "--base", "debian", "--set", "user=ada"], catch_exceptions=False)
    assert seen == [(TargetChoice("node-1", base="debian", overrides={"user": "ada"}), False)]


def test_a_command_without_a_target_gets_the_options():
    seen = []

    @click.command("flash")
    @target_options
    def flash(choice):
        seen.append(choice.named("node-2"))

    CliRunner().invoke(flash, ["--no-cluster"], catch_exceptions=False)
    assert seen == [TargetChoice("node-2", no_cluster=True)]


def test_the_shell_completes_nodes_and_profiles(inside):
    run("init")
    context = click.Context(plan_command)
    found = [item.value for item in complete_target(context, plan_command.params[0], "no")]
    assert found == ["node-1", "node-2"]
    assert "rpi3-worker" in [item.value for item in complete_target(context, plan_command.params[0], "")]


def test_the_shell_is_not_bothered_by_a_broken_inventory(inside):
    (inside / "cluster.yaml").write_text("][")
    assert complete_target(click.Context(plan_command), plan_command.params[0], "") == []


def test_plan_tells_which_lock_pins_the_base_and_what_nobody_checked(inside):
    told = run("plan", "rpi4-worker").output
    assert "pinned by the lock that comes with imagesmith since 20" in told
    assert "unchecked: its digest (fact sheet, unchecked); the publisher's signature must hold too" in told
    facts = json.loads(run("plan", "rpi4-worker", "--json").output)["result"]["pinned"]
    assert facts["lock"] == "shipped"
    assert facts["origin"]["digest"] == "fact sheet, unchecked"


def test_plan_tells_of_the_users_own_lock(inside):
    entry = LockEntry(digest=Digest.of(b"x"), resolved="2026-11-23", version="7")
    write(inside / "imagesmith.lock", Lock().with_entry("rpi4", "raspios", entry))
    told = run("plan", "rpi4-worker").output
    assert "pinned by imagesmith.lock since 2026-11-23, version 7" in told
    assert "unchecked" not in told


def test_profiles_show_tells_what_pins_each_base(inside):
    told = run("profiles", "show", "rpi4-worker").output
    assert "  raspios\n    pinned by the lock that comes with imagesmith" in told
    assert "  debian\n    pinned by no lock yet" in told
