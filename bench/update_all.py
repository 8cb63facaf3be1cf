"""How many requests `update` of every board sends to the publisher that it asks most. The bar is a number, not a time.

The publishers are the tests' own, on loopback, one server for each host that a shipped base's index lies on; what is
counted is what the servers got, redirects too. Called by `bench.__main__`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from bench.made_base import Base
from bench.row import Row
from imagesmith.sources.cache import Cache
from imagesmith.workflow.locking import Options, update_all
from imagesmith.workflow.target import TargetChoice
from imagesmith.workflow.updatable import bases_meant

LIMIT = 3.0


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Of the first update, which has nothing locked. `base` and `runs` are not used: the number is always the same."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from publishers.everywhere import everywhere
    from publishers.houses import Key
    from publishers.signing import Signer

    place = folder / "update"
    place.mkdir()
    (place / "gpg").mkdir()
    with contextlib.ExitStack() as stack:
        signer = Signer(place / "gpg")
        stack.callback(signer.close)
        key = Key(signer, signer.make("bench"))
        world = stack.enter_context(
            everywhere(bases_meant(TargetChoice(no_cluster=True)) or (), place / "servers", key)
        )
        os.environ.update(NO_PROXY="127.0.0.1", REQUESTS_CA_BUNDLE=str(place / "servers" / "ca.pem"))
        options = Options(keyrings=signer.keyring(key.fingerprint).parent)
        outcome = update_all(world.bases, place / "imagesmith.lock", Cache(place / "cache"), options=options)
        for failure in outcome.failures:
            raise failure
        host, most = max(world.requests().items(), key=lambda one: one[1])
    case = f"update of {len(world.bases)} bases, requests to {host}"
    return [Row(case, most, "one", 1, LIMIT, unit="requests")]
