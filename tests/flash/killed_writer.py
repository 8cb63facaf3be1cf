"""Flashes, and kills itself with SIGKILL when a step has come so far: IMAGE DEVICE STEP BYTES."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from faults.disks import image_of, listed
from faults.writing import flash

from imagesmith.events import Event, Progress
from imagesmith.planning.flash import plan_flash


def main(image: str, device: str, step: str, done: str) -> None:
    def listener(event: Event) -> None:
        if isinstance(event, Progress) and event.step == step and event.done >= int(done):
            os.kill(os.getpid(), signal.SIGKILL)

    flash(plan_flash(listed(device), image_of(Path(image))), listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
