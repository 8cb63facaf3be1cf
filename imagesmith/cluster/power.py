"""A UPS on a node: NUT's files by role, what watches over it, and an end of containers that is bounded.

Called by `cluster.contents`. Pure. NUT's files lie where it reads them, root's alone until the first boot's step
72-power gives them to its group, which comes with the package.
"""

from __future__ import annotations

from imagesmith.cluster import draining, nut
from imagesmith.cluster.k3s import LIBRARY, UNITS
from imagesmith.model import Cluster, Edit, Link, Materials, Part, Power, Profile, Promise, PutFile

CONF = "/etc/imagesmith/power.conf"
PRIMARY_PASSWORD, SECONDARY_PASSWORD = "cluster/ups-primary-password", "cluster/ups-secondary-password"
STEP = "72-power"
_SYSTEM_UNITS = "/usr/lib/systemd/system"
_WANTED = f"{UNITS}/multi-user.target.wants"
_SCRIPTS = ("ups-watch", "ups-off", "k3s-end")
_DRAIN_SCRIPTS = ("ups-drain", "ups-undrain")
_OWN_UNITS = ("imagesmith-ups.service", "imagesmith-k3s-end.service")


def secrets(cluster: Cluster) -> tuple[str, ...]:
    if cluster.power is None:
        return ()
    return (PRIMARY_PASSWORD, SECONDARY_PASSWORD, *map(draining.secret_name, draining.drained(cluster)))


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    """Nothing without a vault: NUT would have no passwords. A node on another socket has at most what servers hold for
    the workers that drain themselves."""
    power = part.cluster.power
    if power is None or part.sealed is None:
        return ()
    if not power.covers(part.node.name):
        return draining.edits(part, power, materials)
    return (
        PutFile("root", CONF, nut.watch_conf(part, power)),
        PutFile("root", f"{LIBRARY}/steps/{STEP}", materials.files[f"firstboot/power/{STEP}"], 0o755),
        *_programs(part, power, materials),
        *(_primary(part, power) if nut.is_primary(part, power) else _secondary(part, power)),
        *draining.edits(part, power, materials),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    power = part.cluster.power
    if power is None or part.sealed is None or not power.covers(part.node.name):
        return ()
    return (Promise(f"step.{STEP}", "equals", "done", "NUT listens for a power cut, and the node goes down in one"),)


def packages(part: Part) -> tuple[str, ...]:
    power = part.cluster.power
    if power is None or not power.covers(part.node.name):
        return ()
    if not nut.is_primary(part, power):
        return ("nut-client",)
    return ("nut-client", "nut-server", *([power.ups.driver.package] if power.ups.driver.package else []))


def _programs(part: Part, power: Power, materials: Materials) -> tuple[Edit, ...]:
    drains = part.node.name in draining.drained(part.cluster)
    scripts = (*_SCRIPTS, *(_DRAIN_SCRIPTS if drains else ()))
    return (
        *(PutFile("root", f"{LIBRARY}/{one}", materials.files[f"firstboot/power/{one}"], 0o755) for one in scripts),
        *(PutFile("root", f"{UNITS}/{one}", materials.files[f"firstboot/power/{one}"]) for one in _OWN_UNITS),
        *(Link("root", f"{_WANTED}/{one}", f"{UNITS}/{one}") for one in _OWN_UNITS),
        # Their units come with NUT; until then systemd passes over the links.
        Link("root", f"{_WANTED}/nut-monitor.service", f"{_SYSTEM_UNITS}/nut-monitor.service"),
        PutFile("root", f"{UNITS}/nut-monitor.service.d/50-imagesmith.conf", nut.monitor_unit()),
        PutFile("root", f"{nut.FOLDER}/nut.conf", nut.mode(part, power), 0o600),
    )


def _primary(part: Part, power: Power) -> tuple[Edit, ...]:
    assert part.sealed is not None
    first, second = (part.sealed.more[name].ref for name in (PRIMARY_PASSWORD, SECONDARY_PASSWORD))
    rule, instance = nut.udev_rule(power.ups), f"nut-driver@{power.ups.name}.service"
    return (
        PutFile("root", f"{nut.FOLDER}/ups.conf", nut.ups_conf(power.ups), 0o600),
        PutFile("root", f"{nut.FOLDER}/upsd.conf", nut.upsd_conf(part), 0o600),
        PutFile("root", f"{nut.FOLDER}/upsd.users", nut.upsd_users(first, second), 0o600),
        PutFile("root", f"{nut.FOLDER}/upsmon.conf", nut.upsmon_conf(part, power, first), 0o600),
        *([PutFile("root", "/etc/udev/rules.d/62-imagesmith-ups.rules", rule)] if rule else []),
        PutFile("root", f"{UNITS}/nut-server.service.d/50-imagesmith.conf", nut.server_unit(part)),
        Link("root", f"{_WANTED}/nut-server.service", f"{_SYSTEM_UNITS}/nut-server.service"),
        Link("root", f"{UNITS}/nut-driver.target.wants/{instance}", f"{_SYSTEM_UNITS}/nut-driver@.service"),
    )


def _secondary(part: Part, power: Power) -> tuple[Edit, ...]:
    assert part.sealed is not None
    password = part.sealed.more[SECONDARY_PASSWORD].ref
    return (PutFile("root", f"{nut.FOLDER}/upsmon.conf", nut.upsmon_conf(part, power, password), 0o600),)
