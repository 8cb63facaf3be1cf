"""What a cluster remembers: names and values with revisions, in a file that survives power cuts.

Replicas merge by name, the highest revision wins, the origin's name decides between equals; a removed name stays as a
revision without a value. SQLite when a server is alone, a folder named etcd when servers are several.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .words import say, write

Entry = tuple[int, str, Any]


class Store:
    """Open one with `open_store`; safe for several threads."""

    def __init__(
        self, origin: str, keep: Callable[[dict[str, Entry], list[str]], None], found: dict[str, Entry]
    ) -> None:
        self.origin = origin
        self.entries = found
        self.changed: list[Callable[[], None]] = []
        self._keep = keep
        self._lock = threading.RLock()

    def get(self, name: str) -> Any:
        entry = self.entries.get(name)
        return entry[2] if entry else None

    def under(self, prefix: str) -> dict[str, Any]:
        """Names without the prefix, and their values."""
        with self._lock:
            entries = sorted(self.entries.items())
        return {
            name[len(prefix) :]: entry[2] for name, entry in entries if name.startswith(prefix) and entry[2] is not None
        }

    def was_removed(self, name: str) -> bool:
        return name in self.entries and self.entries[name][2] is None

    def put(self, name: str, value: Any) -> None:
        with self._lock:
            highest = max((entry[0] for entry in self.entries.values()), default=0)
            self.entries[name] = (highest + 1, self.origin, value)
            self._keep(self.entries, [name])
        for tell in self.changed:
            tell()

    def remove(self, name: str) -> None:
        if self.get(name) is not None:
            self.put(name, None)

    def revisions(self) -> dict[str, list[Any]]:
        with self._lock:
            return {name: [entry[0], entry[1]] for name, entry in self.entries.items()}

    def newer_than(self, revisions: dict[str, list[Any]]) -> dict[str, Entry]:
        with self._lock:
            return {name: e for name, e in self.entries.items() if [e[0], e[1]] > revisions.get(name, [0, ""])}

    def merge(self, entries: dict[str, Any]) -> list[str]:
        """The names that changed here."""
        with self._lock:
            news = [name for name, e in entries.items() if (e[0], e[1]) > tuple(self.entries.get(name, (0, ""))[:2])]
            for name in news:
                revision, origin, value = entries[name]
                self.entries[name] = (revision, origin, value)
            if news:
                self._keep(self.entries, news)
        return news


def open_store(db: Path, origin: str, etcd: bool) -> Store:
    """The datastore below server/db; one that was SQLite before is carried over, as k3s does it."""
    sqlite_file, etcd_file = db / "state.db", etcd_state(db)
    if not etcd:
        keep, found = _sqlite(sqlite_file)
        return Store(origin, keep, found)
    if etcd_file.exists():
        found = {name: (e[0], e[1], e[2]) for name, e in json.loads(etcd_file.read_text()).items()}
    elif sqlite_file.exists():
        say("Migrating content from sqlite to etcd")
        found = _sqlite(sqlite_file)[1]
        sqlite_file.rename(db / "state.db.migrated")
    else:
        found = {}

    def keep_all(entries: dict[str, Entry], _: list[str]) -> None:
        write(etcd_file, json.dumps(entries))

    if found:
        keep_all(found, [])
    return Store(origin, keep_all, found)


def etcd_state(db: Path) -> Path:
    return db / "etcd" / "member" / "stand-in.json"


def has_etcd(db: Path) -> bool:
    return etcd_state(db).exists()


def _sqlite(path: Path) -> tuple[Callable[[dict[str, Entry], list[str]], None], dict[str, Entry]]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute(
        "create table if not exists kine (name text primary key, revision integer, origin text, value text)"
    )
    connection.commit()

    def rows() -> Iterator[tuple[str, Entry]]:
        for name, revision, origin, value in connection.execute("select name, revision, origin, value from kine"):
            yield name, (revision, origin, json.loads(value))

    def keep(entries: dict[str, Entry], names: list[str]) -> None:
        with connection:
            values = [(name, entries[name][0], entries[name][1], json.dumps(entries[name][2])) for name in names]
            connection.executemany("insert or replace into kine values (?, ?, ?, ?)", values)

    return keep, dict(rows())
