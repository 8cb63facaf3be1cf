"""How a machine comes to trust a server: the token's hash against the bundle that the server shows."""

from __future__ import annotations

from . import cahash
from .client import HOST_STORE, Caller, unverified
from .words import Fatal, Refused, say


def trusted_bundle(url: str, token: cahash.Token) -> str | None:
    """The bundle to verify the server with; None when the machine's own store already vouches for it.

    `Fatal` when the hashes differ, OSError or `Refused` when the server can't be asked.
    """
    if not url.startswith("https://"):
        raise Fatal(f"only https:// URLs are supported, invalid scheme: {url}")
    try:
        Caller(HOST_STORE).ask(url, "/cacerts")
    except OSError:
        pass  # as expected of a cluster's own authority
    else:
        if token.hash:
            say(
                "Cluster CA certificate is trusted by the host CA bundle. Token CA hash will not be validated.",
                "warning",
            )
        return None
    try:
        pem = unverified().ask(url, "/cacerts")
    except OSError as error:
        raise OSError(f"failed to get CA certs: {url}/cacerts: {error}") from error
    try:
        Caller(pem or "none").ask(url, "/cacerts")
    except (OSError, Refused) as error:
        raise OSError(f"CA cert validation failed: {url}/cacerts: {error}") from error
    _compare(pem, token)
    return pem


def _compare(pem: str, token: cahash.Token) -> None:
    if not token.hash:
        say(
            "Cluster CA certificate is not trusted by the host CA bundle, but the token does not include a CA hash. "
            "Use the full token from the server's node-token file to enable Cluster CA validation.",
            "warning",
        )
        return
    shown = cahash.ca_hash(pem)
    if shown != token.hash:
        raise Fatal(f"token CA hash does not match the Cluster CA certificate hash: {token.hash} != {shown}")
