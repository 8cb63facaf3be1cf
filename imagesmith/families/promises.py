"""What the first boot of any of our images must bring about, as facts of the guest's report."""

from __future__ import annotations

from imagesmith.families.family import Given
from imagesmith.model import Node, Promise

STEPS = (
    "10-clock",
    "15-account",
    "16-vendor-account",
    "17-language",
    "20-grow-root",
    "25-packages",
    "30-identity",
    "40-time-sync",
    "50-card-life",
    "55-kernel-words",
    "60-watchdog",
    "62-access",
    "64-firewall",
    "66-clock-service",
    "68-upkeep",
    "70-downloads",
    "80-k3s",
)
"""The steps of firstboot/steps; a test holds the two equal."""


def first_boot_promises(given: Given) -> tuple[Promise, ...]:
    """Promises that hold whatever the family."""
    node = given.node
    promises = [
        Promise("hostname", "equals", node.name, "the node is known by its name"),
        Promise("failed_units", "equals", "", "nothing failed to start"),
        Promise("clock_ok", "equals", "yes", "the clock is never before the image was made"),
        Promise("root_grown", "equals", "yes", "the root file system fills the disk"),
        Promise("machine_id", "present", "", "the node has an identity of its own"),
        _host_key(given),
        Promise("memory_cgroup", "equals", "yes", "k3s needs the memory controller"),
        Promise("unit.imagesmith-firstboot.service", "equals", "active", "the first boot came to its end"),
        Promise("unit.ssh.service", "equals", "active", "the node is reached by SSH"),
        Promise(f"user.{node.settings.user}", "equals", "present", "someone can log in"),
    ]
    promises += [Promise(f"step.{step}", "equals", "done", "the first boot's step succeeded") for step in STEPS]
    promises += _card_life(node)
    machine = given.profile.board.machine_for(given.base)
    if machine is not None and machine.network != "none":
        promises.append(_address(node))
    if node.settings.time_servers:
        servers = " ".join(node.settings.time_servers)
        promises.append(Promise("time_servers", "equals", servers, "the clock is kept by these servers"))
    return tuple(promises)


def _host_key(given: Given) -> Promise:
    kept = next((key for key in given.host_keys if key.kind == "ed25519"), None)
    if kept:
        return Promise("host_key.ed25519", "equals", kept.fingerprint, "the node has the host key that the vault keeps")
    return Promise("host_key.ed25519", "present", "", "the node has host keys of its own")


def _card_life(node: Node) -> list[Promise]:
    promises = [
        Promise("noatime", "equals", "yes", "reading wears no card"),
        Promise("journal_max", "equals", str(node.settings.journal_max), "the journal is bounded"),
    ]
    if node.settings.zram_percent:
        promises.append(Promise("zram", "at_least", "1", "swap is in memory"))
    return promises


def _address(node: Node) -> Promise:
    if node.network.address:
        address = node.network.address.partition("/")[0]
        return Promise(f"address.{address}", "equals", "yes", "the node has the address that it was given")
    return Promise("address", "present", "", "the machine has a network")


def language_promises(given: Given) -> tuple[Promise, ...]:
    """The time zone and the language that a person set."""
    settings = given.node.settings
    return (
        Promise("timezone", "equals", settings.timezone, "the node's time is told in its zone"),
        Promise("locale", "equals", settings.locale, "the node speaks its language"),
        Promise("keyboard", "equals", settings.keyboard, "the console has its keyboard"),
    )


def cloud_init_promises(given: Given) -> tuple[Promise, ...]:
    """What an image with cloud-init promises beside."""
    return (
        *language_promises(given),
        Promise("cloud_init", "equals", "done", "cloud-init finished without an error"),
        Promise("cloud_init_schema", "equals", "valid", "the documents are what this cloud-init understands"),
    )
