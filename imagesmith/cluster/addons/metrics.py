"""What nodes tell their exporter of what only they know: backup and UPS. Called by `cluster.addons.manifests`. Pure."""

from __future__ import annotations

from imagesmith.model import Edit, Link, Materials, PutFile
from imagesmith.model.addons import Addons

PROGRAM = "/usr/lib/imagesmith/node-metrics"
TIMER, SERVICE = "imagesmith-metrics.timer", "imagesmith-metrics.service"
_UNITS = "/etc/systemd/system"
_FOLDER = "firstboot/addons"


def metrics_files(addons: Addons, materials: Materials) -> tuple[Edit, ...]:
    """The script and its timer on every node, where somebody looks at what it writes."""
    if not addons.addon("monitoring"):
        return ()
    return (
        PutFile("root", PROGRAM, materials.files[f"{_FOLDER}/node-metrics"], 0o755),
        *(PutFile("root", f"{_UNITS}/{name}", materials.files[f"{_FOLDER}/{name}"]) for name in (SERVICE, TIMER)),
        Link("root", f"{_UNITS}/timers.target.wants/{TIMER}", f"{_UNITS}/{TIMER}"),
    )
