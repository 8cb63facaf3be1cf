"""What a node tells of its VPNs, judged and in a word. Called by `health` and by `cli.cluster`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_WAITS = "ACCESS_DENIED"
_STATES = {
    "NOT_FOUND": "there is no such network: compare `network:` with its page",
    "REQUESTING_CONFIGURATION": "it asks the network's controller, which has not answered yet",
    "AUTHENTICATION_REQUIRED": "the network wants a person to log in, which no node can",
    "PORT_ERROR": "its interface could not be made: journalctl -u zerotier-one",
    "CLIENT_TOO_OLD": "its ZeroTier is too old for the network",
}


def vpn_wrong(told: Mapping[str, str]) -> Iterator[str]:
    """All that is wrong with a node's VPNs, from the facts of node-status."""
    if "vpn.zerotier.network" in told and (wrong := _zerotier(told)):
        yield f"ZeroTier: {wrong}"
    if "vpn.hamachi.state" in told:
        if told["vpn.hamachi.state"] != "logged in":
            yield f"Hamachi: {told['vpn.hamachi.state'] or 'it does not run: systemctl status logmein-hamachi'}"
        elif told.get("vpn.hamachi.joined") != "active":
            yield "Hamachi: it is not in its network yet: journalctl -u imagesmith-hamachi"


def vpn_word(told: Mapping[str, str]) -> str:
    """For a table: the node's address there, or why it has none; empty where it is in no VPN."""
    if "vpn.zerotier.network" in told:
        state = told.get("vpn.zerotier.state", "")
        if state == "OK":
            return _addresses(told)[0] if _addresses(told) else "no address"
        return {_WAITS: "waits to be let in", "": "not running"}.get(state, state.lower())
    return told.get("vpn.hamachi.address", "") or told.get("vpn.hamachi.state", "")


def _zerotier(told: Mapping[str, str]) -> str:
    state, member, runs_as = (told.get(f"vpn.zerotier.{key}", "") for key in ("state", "member", "runs_as"))
    network, wanted = told["vpn.zerotier.network"], told.get("vpn.zerotier.wanted", "")
    if not runs_as:
        return "it does not run: systemctl status zerotier-one"
    if runs_as != member:
        return f"it runs as {runs_as}, and this node is {member}: imagesmith-apply 74-zerotier"
    if state == _WAITS:
        return f"it waits to be let into {network}, as {member}: imagesmith vpn authorise, or its page"
    if state != "OK":
        offline = told.get("vpn.zerotier.daemon") == "OFFLINE"
        return _STATES.get(state, f"its state in {network} is {state or 'not told'}") + (
            "; it reaches no other ZeroTier node: is there internet?" if offline else ""
        )
    if wanted and wanted not in _addresses(told):
        return f"it has not {wanted} there, but {' '.join(_addresses(told)) or 'no address'}: imagesmith vpn authorise"
    return ""


def _addresses(told: Mapping[str, str]) -> list[str]:
    """Without their prefix."""
    listed = told.get("vpn.zerotier.addresses", "").split(",")
    return [one.partition("/")[0] for one in listed if one not in ("", "-")]
