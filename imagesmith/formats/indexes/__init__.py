"""Publishers' indexes: what an index says is the newest file of a kind. Bytes in, `Newest` out; one file a publisher.

Called by `sources.follow`, which fetches. An index is read leniently where it has more than is known here, and strictly
where something that is needed is missing: ContentMalformed then says what.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.formats.indexes import armbian, raspberrypi, sums

WORDS: Mapping[str, tuple[str, ...]] = {
    "raspberrypi": raspberrypi.WORDS,
    "armbian": armbian.WORDS,
    "ubuntu": sums.WORDS,
    "debian": sums.WORDS,
}
"""What a base's `follow: choose:` may say, by publisher."""
