"""Asks publishers' servers for small files, each once and few of one server, however many bases want to know.

Called by `follow`. One `Asking` is one run of `imagesmith update`; it touches the network only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from urllib.parse import urlsplit

from imagesmith.errors import ImagesmithError
from imagesmith.events import Listener, Noted, unheard
from imagesmith.formats.indexes.newest import file_name
from imagesmith.sources.fetch import PATIENT, Patience, fetch_small
from imagesmith.sources.shown import shown
from imagesmith.units import MiB

MOST = 3
"""Files of one server that are asked for, unless more of them are needed."""
_LARGEST = 16 * MiB
"""Of an index. The largest that is known has a few MiB."""


class Asking:
    """Files by URL, fetched when first asked for; a failure is remembered as well.

    `needed` are the indexes that will be asked for in any case, `wished` the signatures that should be: what is asked
    as a courtesy leaves room for them.
    """

    def __init__(
        self,
        needed: Iterable[str] = (),
        wished: Iterable[str] = (),
        *,
        patience: Patience = PATIENT,
        listener: Listener = unheard,
    ) -> None:
        self._needed, self._wished = set(needed), set(wished)
        self._patience, self._listener = patience, listener
        self._bodies: dict[str, bytes] = {}
        self._failures: dict[str, ImagesmithError] = {}
        self.asked: Counter[str] = Counter()
        """How many files each server was asked for, by host and port."""

    def need(self, url: str) -> bytes:
        """The file. Raises SourceUnreachable, ContentMalformed."""
        if url in self._failures:
            raise self._failures[url]
        if url not in self._bodies:
            self.asked[_server(url)] += 1
            self._listener(Noted(f"asking {_server(url)} for {file_name(url) or 'its index'}"))
            try:
                self._bodies[url] = fetch_small(url, limit=_LARGEST, patience=self._patience)
            except ImagesmithError as error:
                self._failures[url] = error
                raise
        return self._bodies[url]

    def wish(self, url: str) -> bytes | None:
        """The file; None where its server was asked enough. Raises what `need` raises."""
        return self.need(url) if self._is_room(url, self._needed) else None

    def courtesy(self, url: str) -> bytes | None:
        """The file; None where it can't be had, or its server was asked enough."""
        if not self._is_room(url, self._needed | self._wished):
            return None
        try:
            return self.need(url)
        except ImagesmithError as error:
            self._listener(Noted(f"{error}; it goes without"))
            return None

    def _is_room(self, url: str, before: set[str]) -> bool:
        if url in self._bodies or url in self._failures:
            return True
        server = _server(url)
        waiting = [one for one in before if _server(one) == server and one != url and not self._is_known(one)]
        if self.asked[server] + len(waiting) < MOST:
            return True
        self._listener(Noted(f"{shown(url)} is not asked for: its server is asked for {MOST} files at most"))
        return False

    def _is_known(self, url: str) -> bool:
        return url in self._bodies or url in self._failures


def _server(url: str) -> str:
    return urlsplit(url).netloc.lower()
