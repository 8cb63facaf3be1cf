"""How long three nodes take from their first power-on until Kubernetes shows all of them Ready, in QEMU.

Called by `bench.__main__`. The lane's own rack (tests/lanes/racks.py): one server, two agents, all switched on at once;
k3s is the tests' stand-in unless IMAGESMITH_K3S names the real program. Beside it stands what was promised: six
minutes on two cores that have nothing else to do. Needs what `make boot-test` does. One run, since one takes minutes.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.made_base import Base
from bench.row import Row

if TYPE_CHECKING:
    from rack.k3s_program import K3sProgram

PROMISED_S = 360.0
_ENVIRONMENT = dict(os.environ)
"""As it was before other cases chose a cache of their own: the base is not made anew."""


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """One row of one run. `base` is not used: the nodes' is Debian's."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from rack import k3s_program

    k3s = k3s_program.chosen(folder / "rack")
    case = f"three nodes in QEMU, power-on to Ready ({'k3s' if k3s.real else 'stand-in for k3s'})"
    return [Row(case, _seconds(folder / "rack", k3s), "what was promised", PROMISED_S, 1.0)]


def _seconds(folder: Path, k3s: K3sProgram) -> float:
    from lanes.racks import INVENTORY, NODES
    from rack.desk import Desk
    from rack.network import Lan
    from rack.running import Rack

    desk = Desk(folder / "desk", INVENTORY.replace("NAME", "rack"), k3s, env=_ENVIRONMENT)
    desk.draw()
    desk.build()
    with Lan() as lan, Rack(desk, lan, folder / "machines") as rack:
        machines = [rack.insert(node) for node in NODES]
        start = time.monotonic()
        for machine in machines:
            machine.switch_on()
        rack.wait_until_ready(NODES, 4 * PROMISED_S)
        return time.monotonic() - start
