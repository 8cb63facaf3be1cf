"""The texts that NUT (Network UPS Tools) reads on a node: by its role at the UPS. Called by `cluster.power`.

Pure; no secret is here, only names of them. NUT's forced shutdown (FSD) is the safety net below the stages, which are
`firstboot/power/ups-watch`'s: whatever becomes of those, an empty battery or a silent primary brings every node down.
"""

from __future__ import annotations

from imagesmith.cluster import stages
from imagesmith.cluster.parts import own_address, reached_at
from imagesmith.formats.assignments import assignments
from imagesmith.model import Node, Part, Power, Ups
from imagesmith.secret import SecretRef, SecretText

PORT = 3493
FOLDER = "/etc/nut"
OFF = "/usr/lib/imagesmith/ups-off"
"""What brings a node down, whoever decides it."""
POWER_DOWN_FLAG = "/run/imagesmith-ups-off"
"""There while the machine goes down for the UPS's sake: NUT's hook at the very end has the UPS cycle then, even if
mains are back. In memory, so that no later restart finds it and cuts the power."""
_SECONDARY_SYNC_S = 15
"""How long a node waits for the primary's word on an empty battery before it goes down without."""


def is_primary(part: Part, power: Power) -> bool:
    return part.node.name == power.primary


def mode(part: Part, power: Power) -> bytes:
    """nut.conf."""
    return f"MODE={'netserver' if is_primary(part, power) else 'netclient'}\n".encode()


def ups_conf(ups: Ups) -> bytes:
    """ups.conf: the driver, on the primary."""
    lines = ["maxretry = 3", "", f"[{ups.name}]", f"  driver = {ups.driver.name}", f"  port = {ups.port}"]
    lines += [f'  {key} = "{value}"' if value else f"  {key}" for key, value in ups.options.items()]
    return ("\n".join(lines) + "\n").encode()


def upsd_conf(part: Part) -> bytes:
    """upsd.conf: the primary answers itself and the other nodes, on its own address alone where that is known."""
    listens = ("127.0.0.1", own_address(part.node)) if own_address(part.node) else ("0.0.0.0",)
    return "".join(f"LISTEN {address} {PORT}\n" for address in listens).encode()


def upsd_users(primary: SecretRef, secondary: SecretRef) -> SecretText:
    """upsd.users: who may give the word, and who only looks. Nobody commands the UPS over the network."""
    return SecretText(
        (
            b"[primary]\n  password = ", primary, b"\n  upsmon primary\n\n",
            b"[secondary]\n  password = ", secondary, b"\n  upsmon secondary\n",
        )
    )  # fmt: skip


def upsmon_conf(part: Part, power: Power, password: SecretRef) -> SecretText:
    """upsmon.conf."""
    first = is_primary(part, power)
    role = "primary" if first else "secondary"
    settings = {
        "MINSUPPLIES": "1",
        "SHUTDOWNCMD": f'"{OFF}"',
        **({"POWERDOWNFLAG": POWER_DOWN_FLAG} if first else {}),
        "POLLFREQ": f"{stages.POLL_S}",
        "POLLFREQALERT": f"{stages.POLL_S}",
        "HOSTSYNC": f"{stages.host_sync_s(power) if first else _SECONDARY_SYNC_S}",
        "DEADTIME": f"{stages.DEAD_S}",
        "FINALDELAY": f"{stages.FINAL_S if first else 0}",
        "NOCOMMWARNTIME": "300",
        "RBWARNTIME": "43200",
    }
    rest = "".join(f"{key} {value}\n" for key, value in settings.items())
    head = f"MONITOR {asked(part, power)} 1 {role} "
    return SecretText((head.encode(), password, f" {role}\n{rest}".encode()))


def asked(part: Part, power: Power) -> str:
    """The UPS as NUT's programs name it on this node: `ups@192.168.1.10`."""
    if is_primary(part, power):
        return f"{power.ups.name}@localhost"
    host = reached_at(primary_of(part, power), part.cluster.domain)
    return f"{power.ups.name}@{f'[{host}]' if ':' in host else host}"


def primary_of(part: Part, power: Power) -> Node:
    found = part.cluster.node(power.primary)
    assert found is not None, power.primary
    return found


def watch_conf(part: Part, power: Power) -> bytes:
    """/etc/imagesmith/power.conf: what this node's own scripts go by. Public."""
    stage = stages.stage_of(part, power)
    threshold, workers = power.thresholds[stage], power.thresholds.get("workers")
    cycles = stage == "primary" and power.when_back == "cycle" and workers is not None
    return assignments(
        {
            "UPS": asked(part, power),
            "UPS_NAME": power.ups.name,
            "STAGE": stage,
            "AFTER_S": str(threshold.after_s),
            "BELOW": str(threshold.below),
            "POLL_S": str(stages.POLL_S),
            "SILENT_S": str(stages.DEAD_S + _SECONDARY_SYNC_S + stages.POLL_S),
            "DRAIN_S": str(power.drain_s if stage == "workers" else 0),
            "OTHERS_STOP_S": str(stages.others_stop_s(power) if stage == "primary" else 0),
            "HOST_SYNC_S": str(stages.host_sync_s(power) if stage == "primary" else 0),
            # A little before, since the workers' clocks run on while the primary looks away.
            "CYCLE_AFTER_S": str(max(1, workers.after_s - 2 * stages.POLL_S)) if workers and cycles else "",
            "CYCLE_BELOW": str(workers.below) if workers and cycles else "",
        }
    )


def udev_rule(ups: Ups) -> bytes:
    """Whoever runs the driver may open the UPS; empty where it is not on USB, or NUT's own rule has to do."""
    ids = (ups.usb,) if ups.usb else ups.driver.usb
    usb, access = 'SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device"', 'MODE="0660", GROUP="nut"'
    lines = [f'{usb}, ATTR{{idVendor}}=="{one[:4]}", ATTR{{idProduct}}=="{one[5:]}", {access}' for one in ids]
    return "".join(f"{line}\n" for line in lines).encode()


def server_unit(part: Part) -> bytes:
    """A drop-in: upsd ends where its address is not there yet, and Debian's unit lets it end for good."""
    address = own_address(part.node)
    wait = f"ExecStartPre=/bin/sh -c 'until ip -o address show | grep -qwF {address}; do sleep 1; done'\n"
    return f"{_ANEW}{wait if address else ''}".encode()


def monitor_unit() -> bytes:
    return _ANEW.encode()


_ANEW = "[Unit]\nStartLimitIntervalSec=0\n\n[Service]\nRestart=on-failure\nRestartSec=5\n"
