"""Downloads over https: resumed, limited, patient with a server's moods and not with a stalled one.

https only, at every hop, unless a caller says `plain`; `requests` is used nowhere else. Proxy variables and
REQUESTS_CA_BUNDLE are honoured. Called by `obtain`, `published` and the feeder, for small files by whatever needs them;
writes only the Part that it is given. Every failure is SourceUnreachable or ContentMalformed and names the URL (see
`shown`), the cause and what to do next.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from imagesmith import __version__
from imagesmith.errors import ContentMalformed, SourceUnreachable
from imagesmith.events import Listener, Noted, Progress, unheard
from imagesmith.sources.part import Part, Version
from imagesmith.sources.shown import shown
from imagesmith.units import GiB, KiB, MiB, show_size

Answer = TypeVar("Answer")

MOST = 16 * GiB
"""No published file is larger, unless its profile states a size."""
_PIECE = 256 * KiB
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = (301, 302, 303, 307, 308)
_HOPS = 10
_ONLINE = "check the network and the URL, then run the same command again; what was fetched is kept"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what."""

    attempts: int = 5
    """In a row without a new byte."""
    pause_s: float = 1.0
    """Before the second attempt; doubles, up to 30."""
    away_s: float = 3.5
    """How long to go on while no connection comes about at all: an unknown name, a closed port, no network."""
    connect_s: float = 20.0
    stall_s: float = 60.0
    """Without a byte, or with fewer than `least_rate` a second all that time."""
    least_rate: int = 1 * KiB


PATIENT = Patience()


class NotThere(SourceUnreachable):
    """The server is there, and says that it has no such file."""


class _TryAgain(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, cause: str, after_s: float = 0) -> None:
        super().__init__(cause)
        self.after_s = after_s


class _Away(_TryAgain):
    """The server's name is not known, or nobody listens there: mostly this machine is offline."""


class _Attempts:
    """Counts the attempts at one URL, pauses between them, and gives up."""

    def __init__(self, url: str, patience: Patience, listener: Listener) -> None:
        self._url, self._patience, self._listener = url, patience, listener
        self._begun = time.monotonic()
        self._failed = 0
        self._met = False
        """Whether the server was met at all. A fault after that passes more likely than being offline."""

    def pause(self, error: _TryAgain, *, came: bool = False) -> None:
        """Wait before the next attempt; `came` = the failed one brought new bytes. Raises SourceUnreachable."""
        patience = self._patience
        self._failed = 1 if came else self._failed + 1
        self._met = self._met or came or not isinstance(error, _Away)
        pause_s = max(min(patience.pause_s * 2 ** (self._failed - 1), 30), min(error.after_s, 60))
        hopeless = not self._met and time.monotonic() - self._begun + pause_s > patience.away_s
        if hopeless or self._failed >= patience.attempts:
            count = "1 attempt" if self._failed == 1 else f"{self._failed} attempts"
            raise _unreachable(self._url, f"{error} ({count})") from error
        self._listener(Noted(f"{shown(self._url)}: {error}; trying again"))
        time.sleep(pause_s)


def fetch(
    url: str,
    part: Part,
    *,
    size: int = 0,
    limit: int = MOST,
    patience: Patience = PATIENT,
    listener: Listener = unheard,
    plain: bool = False,
) -> None:
    """Bring `part` to the whole body of `url`, going on where it stands if it is of the same version.

    `size` is what the body must have (0 = unknown), `limit` the most it may have. On an error the part keeps its bytes.
    `plain` takes http too, for what is held to a digest that somebody signed: archives of packages.
    """
    with requests.Session() as session:
        attempts = _Attempts(url, patience, listener)
        while True:
            before = part.size
            try:
                _attempt(session, url, part, size, limit, patience, listener, plain)
                return
            except _TryAgain as error:
                attempts.pause(error, came=part.size > before)


def fetch_small(
    url: str,
    *,
    limit: int = 4 * MiB,
    patience: Patience = PATIENT,
) -> bytes:
    """The body of a small file: a checksum list, a signature, a key."""

    def whole(session: requests.Session) -> bytes:
        with _open(session, url, {}, patience) as response:
            _expect_whole(response, url)
            body = bytearray()
            for data in _body(response, patience):
                body += data
                if len(body) > limit:
                    raise _too_large(url, limit)
            return bytes(body)

    return _answered(url, patience, whole)


def announced(url: str, *, patience: Patience = PATIENT) -> tuple[int, int]:
    """What a file's server says of it without sending it: its size, and when it was made; 0 where it does not say."""

    def told(session: requests.Session) -> tuple[int, int]:
        with _open(session, url, {}, patience) as response:
            _expect_whole(response, url)
            return _length(response), _modified(response)

    return _answered(url, patience, told)


def leads_to(url: str, *, patience: Patience = PATIENT) -> str:
    """Where an address redirects to, one hop; what lies there is not asked for. Raises SourceUnreachable."""

    def next_hop(session: requests.Session) -> str:
        with _asked(session, url, url, {}, patience) as response:
            if response.status_code in _REDIRECTS and "Location" in response.headers:
                return _next(url, response.headers["Location"], url)
            _check_answer(response, url)
            raise _unreachable(url, "leads nowhere, and should lead on to a release", "check the URL")

    return _answered(url, patience, next_hop)


def _answered(url: str, patience: Patience, ask: Callable[[requests.Session], Answer]) -> Answer:
    """What `ask` makes of an answer, asked again as patience has it where that may help."""
    with requests.Session() as session:
        attempts = _Attempts(url, patience, unheard)
        while True:
            try:
                return ask(session)
            except _TryAgain as error:
                attempts.pause(error)


# -- one attempt ----------------------------------------------------------------------------------


def _attempt(
    session: requests.Session,
    url: str,
    part: Part,
    size: int,
    limit: int,
    patience: Patience,
    listener: Listener,
    plain: bool,
) -> None:
    have = part.version
    resume = have is not None and have.url == url and (not size or part.size <= size)
    if resume and size and part.size == size:
        return
    asked = {"Range": f"bytes={part.size}-", "If-Range": have.validator} if resume and have else {}
    with _open(session, url, asked, patience, plain) as response:
        if response.status_code == 416 and resume:
            if _range(response) == (-1, part.size):
                return  # it was whole already
            part.restart(Version(url, ""))
            raise _TryAgain("the file on the server became shorter")
        if response.status_code == 206 and resume and have:
            start, total = _range(response)
            if start != part.size or _validator(response) not in ("", have.validator):
                part.restart(Version(url, ""))
                raise _TryAgain("the server sent another part than the one asked for")
        else:
            _expect_whole(response, url)
            total = _length(response)
            part.restart(Version(url, _validator(response), _modified(response)))
        whole = size or total
        if size and total and total != size:
            raise ContentMalformed(
                f"has {total} bytes, {size} were promised",
                where=shown(url),
                hint="see whether the publisher replaced the file",
            )
        if whole > limit:
            raise _too_large(url, limit)
        _save(response, url, part, whole, limit, patience, listener)


def _save(
    response: requests.Response, url: str, part: Part, whole: int, limit: int, patience: Patience, listener: Listener
) -> None:
    for data in _body(response, patience):
        if part.size + len(data) > (whole or limit):
            raise _too_large(url, whole or limit)
        part.write(data)
        listener(Progress("fetch", part.size, whole))
    if whole and part.size < whole:
        raise _TryAgain(f"the connection ended after {part.size} of {whole} bytes")


@contextmanager
def _open(
    session: requests.Session, url: str, headers: dict[str, str], patience: Patience, plain: bool = False
) -> Iterator[requests.Response]:
    """The answer after all redirects, each of which must stay on https (or, `plain`, on http)."""
    at = url
    for _ in range(_HOPS):
        response = _asked(session, at, url, headers, patience, plain)
        if response.status_code in _REDIRECTS and "Location" in response.headers:
            response.close()
            at = _next(at, response.headers["Location"], url)
            continue
        with response:
            _check_answer(response, url)
            yield response
        return
    raise _unreachable(url, f"redirects more than {_HOPS} times")


def _asked(
    session: requests.Session, at: str, url: str, headers: dict[str, str], patience: Patience, plain: bool = False
) -> requests.Response:
    """The answer of one hop, `at`, on the way from `url`."""
    if _scheme(at, url) not in (("https", "http") if plain else ("https",)):
        raise _unreachable(url, f"redirects to {shown(at)}, which is not https" if at != url else "is not https")
    sent = {"User-Agent": f"imagesmith/{__version__}", "Accept-Encoding": "identity", **headers}
    waits = patience.connect_s, patience.stall_s
    try:
        return session.get(at, headers=sent, stream=True, allow_redirects=False, timeout=waits)
    except requests.RequestException as error:
        raise _connection_failed(url, error, redirected=at != url) from error
    except ValueError as error:  # requests looks into the next hop's address even when told not to follow it
        raise _astray(url, error) from error


def _scheme(at: str, url: str) -> str:
    try:
        return urlsplit(at).scheme.lower()
    except ValueError as error:
        raise _unreachable(url, f"is no usable URL: {error}", "correct the URL") from error


def _next(at: str, location: str, url: str) -> str:
    """Where a redirect leads."""
    try:
        target = urljoin(at, location)
        urlsplit(target).port  # noqa: B018 - asked because it raises
    except ValueError as error:
        raise _astray(url, error) from error
    return target


def _check_answer(response: requests.Response, url: str) -> None:
    code = response.status_code
    if code in _TRANSIENT:
        after = response.headers.get("Retry-After", "")
        raise _TryAgain(f"the server says {code} {response.reason}", float(after) if after.isdecimal() else 0)
    if code not in (200, 206, 416):
        kind = NotThere if code in (403, 404, 410) else SourceUnreachable
        hint = "check the URL; the publisher may have moved the file"
        raise kind(f"the server says {code} {response.reason}", where=shown(url), hint=hint)
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise _unreachable(url, f"the server packs its answer ({encoding}) although it was asked not to")


def _expect_whole(response: requests.Response, url: str) -> None:
    if response.status_code != 200:
        raise _unreachable(url, f"the server says {response.status_code} to a request for the whole file")
    kind = response.headers.get("Content-Type", "").lower()
    if kind.startswith(("text/html", "application/xhtml")):
        raise ContentMalformed(
            "the server sent an HTML page instead of the file",
            where=shown(url),
            hint="open the URL in a browser: a login page or a moved file, perhaps",
        )


def _body(response: requests.Response, patience: Patience) -> Iterator[bytes]:
    """Pieces of the body as they come. Raises _TryAgain on stall, drip and a connection that ends too early."""
    since, got = time.monotonic(), 0
    raw: Any = response.raw
    while True:
        try:
            data = raw.read1(_PIECE, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise _TryAgain(f"no byte came for {patience.stall_s:g} s") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _TryAgain(f"the connection broke: {error}") from error
        if not data:
            return
        yield data
        got += len(data)
        now = time.monotonic()
        if now - since >= patience.stall_s:
            if got < patience.least_rate * (now - since):
                raise _TryAgain(f"only {got} bytes came in {now - since:.0f} s")
            since, got = now, 0


# -- headers and words ----------------------------------------------------------------------------


def _length(response: requests.Response) -> int:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0


def _range(response: requests.Response) -> tuple[int, int]:
    """Start (-1 when unsatisfied) and total of Content-Range; (-2, 0) when it makes no sense."""
    match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if not match:
        return -2, 0
    total = 0 if match[3] == "*" else int(match[3])
    return (-1 if match[1] is None else int(match[1])), total


def _validator(response: requests.Response) -> str:
    """What `If-Range` takes: a strong ETag, else Last-Modified (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    return response.headers.get("Last-Modified", "")


def _modified(response: requests.Response) -> int:
    """Last-Modified in seconds since 1970; 0 when it is absent, no date, or in the future."""
    try:
        moment = int(parsedate_to_datetime(response.headers.get("Last-Modified", "")).timestamp())
    except (ValueError, OverflowError):
        return 0
    return moment if 0 < moment <= time.time() else 0


def _connection_failed(url: str, error: requests.RequestException, *, redirected: bool) -> Exception:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return _unreachable(
            url,
            "the server's certificate is not trusted",
            "check the clock; with a private CA set REQUESTS_CA_BUNDLE to its file",
        )
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return _unreachable(url, "is no usable URL", "correct the URL")
    refused = _new_connection_error(error)
    # A redirect leads to another mirror the next time, perhaps; and who redirected is there.
    again = _Away if refused and not redirected else _TryAgain
    if isinstance(error, requests.exceptions.ProxyError) and refused:
        return again("the proxy (see HTTPS_PROXY) cannot be reached")
    if isinstance(error, requests.exceptions.ProxyError):
        return _TryAgain("the proxy does not let it through (see HTTPS_PROXY)")
    if isinstance(error, requests.exceptions.ReadTimeout):
        return _TryAgain("the server does not answer")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _TryAgain("the server cannot be reached in time")
    # urllib3 begins with the connection object's own name.
    reason = str(refused).partition(": ")[2] if refused else re.sub(r"^.*Caused by.*?: ?", "", text).strip("\"')(")
    return again(f"no connection: {reason or text}")


def _new_connection_error(error: requests.RequestException) -> Exception | None:
    """urllib3's word for it when no connection came about: requests wraps it in two others, three with a proxy."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    reason = getattr(reason, "original_error", reason)
    return reason if isinstance(reason, urllib3.exceptions.NewConnectionError) else None


def _too_large(url: str, limit: int) -> ContentMalformed:
    return ContentMalformed(
        f"is larger than the {show_size(limit)} that it may have",
        where=shown(url),
        hint="check the URL; if it is right, its profile must state the size",
    )


def _astray(url: str, error: ValueError) -> SourceUnreachable:
    hint = "the server is at fault: try later, or give another URL"
    return _unreachable(url, f"redirects to what is no URL: {error}", hint)


def _unreachable(url: str, cause: str, hint: str = _ONLINE) -> SourceUnreachable:
    return SourceUnreachable(cause, where=shown(url), hint=hint)
