"""What the first boot of any of our images must bring about, as facts of the guest's report."""

from __future__ import annotations

from imagesmith.model import Node, Profile, Promise

STEPS = ("10-clock", "15-account", "20-grow-root", "30-identity", "40-time-sync", "50-card-life", "60-watchdog")
"""The steps of firstboot/steps; a test holds the two equal."""


def first_boot_promises(node: Node, profile: Profile) -> tuple[Promise, ...]:
    """Promises that hold whatever the family."""
    promises = [
        Promise("hostname", "equals", node.name, "the node is known by its name"),
        Promise("failed_units", "equals", "", "nothing failed to start"),
        Promise("clock_ok", "equals", "yes", "the clock is never before the image was made"),
        Promise("root_grown", "equals", "yes", "the root file system fills the disk"),
        Promise("machine_id", "present", "", "the node has an identity of its own"),
        Promise("host_key.ed25519", "present", "", "the node has host keys of its own"),
        Promise("memory_cgroup", "equals", "yes", "k3s needs the memory controller"),
        Promise("unit.imagesmith-firstboot.service", "equals", "active", "the first boot came to its end"),
        Promise("unit.ssh.service", "equals", "active", "the node is reached by SSH"),
        Promise(f"user.{node.settings.user}", "equals", "present", "someone can log in"),
    ]
    promises += [Promise(f"step.{step}", "equals", "done", "the first boot's step succeeded") for step in STEPS]
    machine = profile.board.machine
    if machine is not None and machine.network != "none":
        promises.append(Promise("address", "present", "", "the machine has a network"))
    return tuple(promises)


def cloud_init_promises() -> tuple[Promise, ...]:
    """What an image with cloud-init promises beside."""
    return (
        Promise("cloud_init", "equals", "done", "cloud-init finished without an error"),
        Promise("cloud_init_schema", "equals", "valid", "the documents are what this cloud-init understands"),
    )
