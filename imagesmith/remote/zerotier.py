"""Who decides on a ZeroTier network's members, asked over HTTP: Central, or a controller of one's own.

Called by `workflow.vpn`. A token goes into one header, never after a redirect, and is in no message. What is asked
often or while a server is ill is asked again, later and not for ever.

Sources: service/README.md and nonfree/controller/README.md of ZeroTierOne; Central's API as its users have it, so
answers are read leniently: what a field lacks counts as not told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import requests

from imagesmith.errors import ContentMalformed, NodeUnreachable, UsageError
from imagesmith.model import Membership, ZeroTierApi, ZeroTierNetwork
from imagesmith.secret import Secret

TRIES = 5
MOST_WAIT_S = 60.0
"""Before another try, whatever a server asks for."""
_TIMEOUT_S = 30.0
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@dataclass(frozen=True, slots=True)
class Door:
    api: ZeroTierApi
    token: Secret
    sleep: Callable[[float], None] = time.sleep

    def network(self, network: str) -> ZeroTierNetwork:
        """Raises UsageError where the token is refused, or there is no such network; NodeUnreachable,
        ContentMalformed."""
        told = self._ask("GET", self._of(network), missing=f"there is no network {network} for this token")
        config = _table(told.get("config")) if self._is_central else told
        routes = config.get("routes")
        targets = [_text(_table(one).get("target")) for one in routes] if isinstance(routes, list) else []
        return ZeroTierNetwork(network, _text(config.get("name")), tuple(filter(None, targets)))

    def members(self, network: str) -> tuple[Membership, ...]:
        """All that are known to it, let in or not. Raises as `network`."""
        told = self._ask_any("GET", f"{self._of(network)}/member")
        if isinstance(told, list):
            return tuple(self._membership(_table(one)) for one in told)
        # A controller tells addresses with revisions, and each member when it is asked for.
        return tuple(found for address in _table(told) if (found := self.member(network, address)))

    def member(self, network: str, address: str) -> Membership | None:
        """None where it was never heard of. Raises as `network`."""
        told = self._ask_any("GET", f"{self._of(network)}/member/{address}", none_is_fine=True)
        return self._membership({"nodeId": address, **_table(told)}) if told is not None else None

    def let_in(self, network: str, wanted: Membership) -> None:
        """Raises as `network`."""
        config: dict[str, object] = {"authorized": True}
        if wanted.addresses:
            config["ipAssignments"] = list(wanted.addresses)
        body = {"name": wanted.name, "config": config} if self._is_central else {"name": wanted.name, **config}
        self._ask("POST", f"{self._of(network)}/member/{wanted.member}", body)

    @property
    def _is_central(self) -> bool:
        return self.api.kind == "central"

    def _of(self, network: str) -> str:
        return f"{self.api.url}/{'' if self._is_central else 'controller/'}network/{network}"

    def _membership(self, told: Mapping[str, Any]) -> Membership:
        config = _table(told.get("config")) if self._is_central else told
        listed = config.get("ipAssignments")
        return Membership(
            member=_text(told.get("nodeId")) or _text(config.get("address")) or _text(told.get("id")),
            name=_text(told.get("name")),
            addresses=tuple(map(_text, listed)) if isinstance(listed, list) else (),
            let_in=config.get("authorized") is True,
            identity=_text(config.get("identity")),
        )

    def _ask(self, method: str, url: str, body: object = None, missing: str = "") -> Mapping[str, Any]:
        return _table(self._ask_any(method, url, body, missing=missing))

    def _ask_any(
        self, method: str, url: str, body: object = None, *, missing: str = "", none_is_fine: bool = False
    ) -> object:
        wait, why = 1.0, ""
        for number in range(TRIES):
            if number:
                self.sleep(min(wait, MOST_WAIT_S))
                wait *= 2
            try:
                answer = self._once(method, url, body)
            except requests.RequestException as error:
                why = f"it can't be reached ({type(error).__name__})"
                continue
            if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                wait = max(wait, _seconds(answer.headers.get("Retry-After", "")))
                why = "it says that it was asked too often"
            elif answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                why = f"it is ill ({answer.status_code})"
            elif answer.status_code == HTTPStatus.NOT_FOUND and none_is_fine:
                return None
            else:
                return self._read(answer, url, missing)
        raise NodeUnreachable(f"{why}, {TRIES} times", where=url, hint="run it again later: what is done stays done")

    def _once(self, method: str, url: str, body: object) -> requests.Response:
        with requests.Session() as session:
            # Over http, which is this machine alone, a proxy of the environment would read the token.
            session.trust_env = not url.startswith("http://")
            return session.request(
                method, url, json=body, auth=self._show_token, timeout=_TIMEOUT_S, allow_redirects=False
            )

    def _show_token(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As an `auth`, so that no ~/.netrc puts another in its place."""
        token = self.token.reveal().decode("latin-1")
        name, value = ("Authorization", f"{self.api.scheme} {token}") if self._is_central else ("X-ZT1-Auth", token)
        request.headers[name] = value
        return request

    def _read(self, answer: requests.Response, url: str, missing: str) -> object:
        code, token = answer.status_code, self.api.token.shown
        if code in _REFUSED:
            central = "a token of its account page; for another kind of token there is `scheme: bearer`"
            own = "what the controller has in /var/lib/zerotier-one/authtoken.secret"
            hint = central if self._is_central else own
            raise UsageError(f"it refuses the token ({code}) in {token}", where=url, hint=f"put there {hint}")
        if code == HTTPStatus.NOT_FOUND:
            hint = "compare `network:` with its page, and whose token it is"
            raise UsageError(missing or "it knows no such thing (404)", where=url, hint=hint)
        if code != HTTPStatus.OK:
            hint = "is `url:` in the inventory this API's? The token was not shown elsewhere"
            raise UsageError(f"it answers {code}, which is no answer of this API", where=url, hint=hint)
        try:
            return answer.json()
        except ValueError:
            raise ContentMalformed("its answer is no JSON", where=url, hint="is `url:` this API's?") from None


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(text: str) -> float:
    """Of Retry-After; a date there counts as nothing said."""
    return float(text) if text.isdecimal() else 0.0
