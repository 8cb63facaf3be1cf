"""What the conductor says to its children while an image goes to cards, and what they answer. Values only.

The *feeder* reads an image (a file, a pipe, an address) and fills slots of the ring; a *card writer* has one card and
empties them. Sent over `ring.Link`, so every field is a number, a text, or a tuple of those. The conversations:

    feeder        Look -> Looked;  Deliver -> (Batch | Digested)* Delivered;  Free(slot) at any time
    card writer   Open, Blank, Put, Flush, Check, Mend, Compare, Sample, Settle, Leave:
                  (Tick* then Done | Found) each, in order

Either may answer Failed instead; a card writer then still takes Blank and Leave.
"""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[int, int]
"""Offset and size, bytes."""
Promised = tuple[int, int, str]
"""Offset, size, sha256 in hex ("" where nobody promised one)."""
Laid = tuple[int, int, int]
"""Offset in the image, offset in the slot, size."""


# -- conductor to feeder --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """Open the source and tell what it is. Exactly one of `descriptor` (0 or more) and `url` is given."""

    name: str
    """What a person calls it, for messages."""
    descriptor: int = -1
    """An open file or pipe that the feeder was started with."""
    url: str = ""
    digest: str = ""
    """Promised of the file as it lies or comes, packed: `sha256:...`; "" = nobody promised one."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Put the image's bytes into slots. May be said again when `Looked.again`, for other spans."""

    spans: tuple[Promised, ...] = ()
    """In rising order, without overlap."""
    everything: bool = False
    """Instead of `spans`: all bytes up to the end, zeros too."""
    cuts: tuple[int, ...] = ()
    """Offsets that no piece and no Digested may reach across."""
    step: int = 0
    """Most bytes of one Digested."""
    digest: str = ""
    """Promised of the whole raw image, `sha256:...`; can only be checked with `everything`."""


@dataclass(frozen=True, slots=True)
class Free:
    """The slot's bytes are no longer needed."""

    slot: int


# -- feeder to conductor --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Looked:
    """The image's first bytes lie in slot 0, which is the feeder's again as soon as Deliver is said."""

    format: str
    """As `sources.content.Format`: raw, xz, gz ..."""
    size: int
    """Of the raw image; 0 = not known before its end."""
    head: int
    """How many bytes lie in slot 0: as many as were there, at most 1 MiB."""
    again: bool
    """Whether Deliver can be said more than once."""
    memory: int = 0
    """Bytes that unpacking takes at most."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A slot was filled. In any order; pieces of one batch in rising order, their bytes at multiples of 4096."""

    slot: int
    pieces: tuple[Laid, ...]


@dataclass(frozen=True, slots=True)
class Digested:
    """What `size` delivered bytes at `offset` are. Everything delivered is digested once, in rising order."""

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """All was sent, the source ended as it should, and every promise was found true."""

    size: int
    """Of the raw image; with spans, as far as it is known, else 0."""
    sha256: str = ""
    """Of the whole raw image, with `everything`."""


# -- conductor to card writer ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Open the card, if it still is what was looked at; for writing, what the desktop mounted of it is unmounted.

    Which device that is, the card writer was told when it was started, by a process that was root then.
    """

    writing: bool


@dataclass(frozen=True, slots=True)
class Blank:
    """Zeros, flushed, and read back. Answer: Found, empty when they are there."""

    places: tuple[Place, ...]


OWN = -1
"""As a slot's number: the one slot that the conductor shares with this card writer alone."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write pieces of a slot. Ticks, then Done."""

    slot: int
    pieces: tuple[Laid, ...]


@dataclass(frozen=True, slots=True)
class Flush:
    """Wait until all is on the medium, then Done."""


@dataclass(frozen=True, slots=True)
class Check:
    """Read spans past every cache and compare their digests. Ticks, then Found: the spans that differ."""

    spans: tuple[Promised, ...]


@dataclass(frozen=True, slots=True)
class Mend:
    """Read the card where the pieces belong, and write again what differs from them. Found: what differed."""

    slot: int
    pieces: tuple[Laid, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """As Mend, but nothing is written."""

    slot: int
    pieces: tuple[Laid, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Read pieces of the card past every cache into the slot OWN, for the conductor to look at. Then Done."""

    pieces: tuple[Laid, ...]
    """Each at most 4 MiB."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Close the card, let the kernel read its new table and, where asked and able, make it safe to take out."""

    eject: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the card and end."""


# -- card writer to conductor ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """So many bytes more are done of what is being done; also a sign of life."""

    size: int


@dataclass(frozen=True, slots=True)
class Done:
    words: str = ""
    """For a person, where there is something to say."""


@dataclass(frozen=True, slots=True)
class Found:
    """Places of the card that are not what they should be, in multiples of 4 KiB but for the image's end."""

    places: tuple[Place, ...]
