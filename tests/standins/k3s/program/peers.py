"""The servers of one cluster among themselves: who is a member, who is alive, and what each of them remembers."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from .client import Caller
from .nodes import Nodes
from .store import Store
from .words import PACE, Refused, say, write

EXCHANGE_S, ALIVE_S = 1.5 * PACE, 6.0 * PACE
PEER = "peer"


def peer_password(store: Store) -> str:
    """Drawn at the founding, known to the servers alone; tokens and keys may change, this stays."""
    return str(store.get("peers") or os.urandom(16).hex())


class Peers:
    """Members are in the store, `members/NAME` = their URL; a store without etcd has none."""

    def __init__(self, name: str, store: Store, nodes: Nodes, tls: Path, etcd: bool) -> None:
        self.name = name
        self.store = store
        self.nodes = nodes
        self.etcd = etcd
        self.removed = threading.Event()
        self._tls = tls
        self._contact: dict[str, float] = {}
        self._news = threading.Event()
        store.changed.append(self._news.set)

    def members(self) -> dict[str, str]:
        return self.store.under("members/")

    def alive(self) -> list[str]:
        """The members that were heard of lately, in order; this one always."""
        fresh = time.monotonic() - ALIVE_S
        return [one for one in self.members() if one == self.name or self._contact.get(one, 0.0) > fresh]

    def has_quorum(self) -> bool:
        members = self.members()
        return not self.etcd or (self.name in members and 2 * len(self.alive()) > len(members))

    def add(self, name: str, url: str) -> None:
        self._contact[name] = time.monotonic() + ALIVE_S  # time to start serving, before it counts as dead
        self.store.put(f"members/{name}", url)
        say(f"etcd member {name} added")

    def remove(self, name: str) -> None:
        if name in self.members() and len(self.members()) > 1:
            self.store.remove(f"members/{name}")
            say(f"etcd member {name} removed")
            self._check_own()

    def run(self, stop: threading.Event) -> None:
        """One thread for each other member, started as they come."""
        running: dict[str, threading.Thread] = {}
        while not stop.wait(0.5):
            for name in self.members():
                if name != self.name and not (name in running and running[name].is_alive()):
                    running[name] = threading.Thread(target=self._talk, args=(name, stop), daemon=True)
                    running[name].start()

    def _talk(self, name: str, stop: threading.Event) -> None:
        caller = Caller((self._tls / "server-ca.crt").read_text(), PEER, peer_password(self.store))
        while not stop.is_set() and (url := self.members().get(name)):
            try:
                self._exchange(caller, url)
                self._contact[name] = time.monotonic()
            except (OSError, Refused, ValueError) as error:
                if name in self.alive():
                    say(f"etcd member {name} does not answer: {error}", "warning")
            self._news.wait(EXCHANGE_S)
            self._news.clear()
        caller.close()

    def _exchange(self, caller: Caller, url: str) -> None:
        mine = {"from": self.name, "revisions": self.store.revisions(), "ages": self.nodes.ages()}
        theirs = json.loads(caller.ask(url, "/stand-in/exchange", "POST", mine, timeout=4))
        self._take(theirs["entries"], theirs["ages"])
        if given := self.store.newer_than(theirs["revisions"]):
            caller.ask(url, "/stand-in/exchange", "POST", {**mine, "entries": given}, timeout=4)

    def answer(self, said: dict[str, Any]) -> dict[str, Any]:
        """The other side of `_exchange`."""
        if said["from"] in self.members():
            self._contact[said["from"]] = time.monotonic()
        self._take(said.get("entries", {}), said["ages"])
        newer = self.store.newer_than(said["revisions"])
        return {"entries": newer, "revisions": self.store.revisions(), "ages": self.nodes.ages()}

    def _take(self, entries: dict[str, Any], ages: dict[str, float]) -> None:
        changed = self.store.merge(entries)
        if "bootstrap" in changed:
            write_bootstrap(self._tls, self.store)
        for name, age in ages.items():
            self.nodes.beat(name, age)
        self._check_own()

    def _check_own(self) -> None:
        if self.store.was_removed(f"members/{self.name}"):
            self.removed.set()


def write_bootstrap(tls: Path, store: Store) -> None:
    """The shared files as the datastore has them."""
    for name, text in (store.get("bootstrap") or {}).items():
        write(tls / name, text, 0o644 if name.endswith(".crt") else 0o600)
