"""`make demo`: a server and an agent, built, booted, and shown by the host's kubectl.

Called as `python -m rack.demo FOLDER`, with `tests` in PYTHONPATH.

What it makes stays in FOLDER, so that a second run has the same cluster; guests and network go. Exit code 0: both nodes
are Ready. 9: this machine lacks something, which is said.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from rack import k3s_program
from rack.desk import CommandFailed, Desk
from rack.network import Lan, NoNetwork
from rack.running import Rack, TookTooLong

from imagesmith.disk import room_for_large_files
from imagesmith.errors import ImagesmithError

INVENTORY = Path(__file__).with_name("demo.yaml")
PATIENCE_S = 900.0


def main(folder: Path) -> int:
    begun = time.monotonic()
    k3s = k3s_program.chosen(folder)
    print(f"This cluster runs {k3s.words}.")
    try:
        with Lan() as lan:  # first, since nothing is worth building where it can't be had
            desk = Desk(folder, INVENTORY.read_text(), k3s, shown=True)
            desk.draw()
            print(f"Before anything was built: {desk.kubeconfig} and {desk.known_hosts}")
            desk.build()
            built = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="imagesmith-demo-", dir=room_for_large_files()) as cards:
                show(desk, lan, Path(cards))
    except NoNetwork as error:
        print(error, file=sys.stderr)
        return 9
    except (CommandFailed, TookTooLong, ImagesmithError) as error:
        print(error, file=sys.stderr)
        return 1
    ended = time.monotonic()
    print(f"{built - begun:.0f} s to build, {ended - built:.0f} s from power-on to both nodes Ready.")
    print(f"It ran {k3s.words}.")
    return 0


def show(desk: Desk, lan: Lan, cards: Path) -> None:
    """Boot both and end with the table."""
    with Rack(desk, lan, cards) as rack:
        start = time.monotonic()
        for node in rack.addresses:
            rack.insert(node).switch_on()
            print(f"{node} is switched on")

        def tell(text: str) -> None:
            print(f"{time.monotonic() - start:5.0f} s  {text}", flush=True)

        for node in rack.addresses:
            rack.wait_for_ssh(node, PATIENCE_S)
            tell(f"{node} lets us in, by the host key that it was built with")
        rack.wait_until_ready(list(rack.addresses), PATIENCE_S)
        tell("both nodes are Ready")
        print(f"\n$ kubectl --kubeconfig={desk.kubeconfig} get nodes -o wide\n{rack.kubectl.table()}", flush=True)


if __name__ == "__main__":
    # The inventory names files by their paths, which must hold from its own folder on.
    sys.exit(main(Path(sys.argv[1]).absolute()))
