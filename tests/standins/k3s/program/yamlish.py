"""YAML, read as text only: every scalar is a string. PyYAML where the machine has it, else the part that k3s needs."""

from __future__ import annotations

import json
from typing import Any

from .words import Fatal

Value = Any


def documents(text: str, where: str, subset: bool = False) -> list[Value]:
    """Every document of `text` that is not empty; `subset` leaves PyYAML out even where it is there."""
    try:
        if subset:
            raise ImportError
        import yaml
    except ImportError:
        return [found for part in _parts(text) if (found := _Block(part, where).document()) not in (None, "")]
    try:
        loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
        return [found for found in yaml.load_all(text, Loader=loader) if found not in (None, "")]
    except yaml.YAMLError as error:
        raise Fatal(f"failed to parse {where}: {' '.join(str(error).split())}") from error


def mapping(text: str, where: str, subset: bool = False) -> dict[str, Value]:
    found = documents(text, where, subset)
    if not found:
        return {}
    if len(found) > 1 or not isinstance(found[0], dict):
        raise Fatal(f"failed to parse {where}: not one mapping")
    return found[0]


def _parts(text: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.rstrip() in ("---", "..."):
            parts.append([])
        else:
            parts[-1].append(line)
    return parts


def _bare(line: str) -> str:
    """Without its comment: a `#` at the start or after a blank, outside of quotes."""
    quote = ""
    for at, sign in enumerate(line):
        if quote:
            if sign == quote and not (quote == '"' and line[at - 1] == "\\"):
                quote = ""
        elif sign in "\"'" and (at == 0 or line[at - 1] in " [{,:"):
            quote = sign
        elif sign == "#" and (at == 0 or line[at - 1] in " \t"):
            return line[:at].rstrip()
    return line.rstrip()


class _Block:
    """One document, line by line: block mappings and lists, quoted and plain scalars, literal blocks, flow values."""

    def __init__(self, lines: list[str], where: str) -> None:
        self.raw = lines
        self.where = where
        self.at = 0
        self.lines = [_bare(line) for line in lines]

    def document(self) -> Value:
        whole = "\n".join(self.lines).strip()
        if whole[:1] in ("{", "["):
            return self._flow(whole)
        found = self._block(0)
        if self._peek() is not None:
            raise self._wrong()
        return found

    def _wrong(self) -> Fatal:
        return Fatal(f"failed to parse {self.where}: line {self.at + 1} is not understood")

    def _peek(self) -> tuple[int, str] | None:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip():
                if line.lstrip(" ").startswith("\t"):
                    raise self._wrong()
                return len(line) - len(line.lstrip(" ")), line.strip()
            self.at += 1
        return None

    def _block(self, least: int) -> Value:
        head = self._peek()
        if head is None or head[0] < least:
            return ""
        return self._list(head[0]) if head[1].startswith("- ") or head[1] == "-" else self._map(head[0])

    def _list(self, indent: int) -> list[Value]:
        found: list[Value] = []
        while (head := self._peek()) and head[0] == indent and (head[1] == "-" or head[1].startswith("- ")):
            rest = head[1][1:].strip()
            if not rest:
                self.at += 1
                found.append(self._block(indent + 1))
            elif _key(rest) or rest.startswith("- "):
                inner = len(self.lines[self.at]) - len(self.lines[self.at].lstrip(" -"))
                self.lines[self.at] = " " * inner + rest
                found.append(self._block(indent + 1))
            else:
                found.append(self._value(rest, indent))
        return found

    def _map(self, indent: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while (head := self._peek()) and head[0] == indent and not head[1].startswith("- "):
            split = _key(head[1])
            if split is None or split[0] in found:
                raise self._wrong()
            key, rest = split
            if rest:
                found[key] = self._value(rest, indent)
                continue
            self.at += 1
            after = self._peek()
            dash = after is not None and after[0] == indent and after[1].startswith("-")
            found[key] = self._block(indent if dash else indent + 1)
        return found

    def _value(self, rest: str, indent: int) -> Value:
        if rest[0] in "|>":
            return self._literal(rest, indent)
        start = self.at
        self.at += 1
        if rest[0] not in "[{":
            return self._scalar(rest)
        while not _closed(rest) and self.at < len(self.lines):  # a flow value may go on over lines
            rest += " " + self.lines[self.at].strip()
            self.at += 1
        try:
            return self._flow(rest)
        except Fatal:
            self.at = start
            raise self._wrong() from None

    def _literal(self, rest: str, indent: int) -> str:
        self.at += 1
        taken: list[str] = []
        while self.at < len(self.raw):
            line = self.raw[self.at]
            if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
                break
            taken.append(line)
            self.at += 1
        depth = min((len(line) - len(line.lstrip(" ")) for line in taken if line.strip()), default=0)
        text = (" " if rest[0] == ">" else "\n").join(line[depth:] for line in taken).rstrip()
        return text if rest.endswith("-") else text + "\n"

    def _scalar(self, text: str) -> str:
        if text[0] == '"':
            try:
                return str(json.loads(text))
            except ValueError:
                raise self._wrong() from None
        if text[0] == "'":
            if len(text) < 2 or text[-1] != "'":
                raise self._wrong()
            return text[1:-1].replace("''", "'")
        if text[0] in "&*!%@`":
            raise self._wrong()
        return "" if text in ("~", "null") else text

    def _flow(self, text: str) -> Value:
        try:
            return _plain(json.loads(text, parse_int=str, parse_float=str))
        except ValueError:
            pass
        if text.startswith("[") and text.endswith("]") and not set(text[1:-1]) & set("[]{}"):
            return [self._scalar(item.strip()) for item in text[1:-1].split(",") if item.strip()]
        raise self._wrong()


def _plain(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value


def _closed(text: str) -> bool:
    return text.count("[") == text.count("]") and text.count("{") == text.count("}")


def _key(text: str) -> tuple[str, str] | None:
    """`key: rest` split, or None when the line is no such thing."""
    if text[0] in "\"'":
        end = text.find(text[0], 1)
        if end < 0 or text[end + 1 : end + 2] != ":":
            return None
        return text[1:end], text[end + 2 :].strip()
    if text[0] in "[{":
        return None
    if text.endswith(":") and ": " not in text:
        return text[:-1], ""
    at = text.find(": ")
    return (text[:at].strip(), text[at + 2 :].strip()) if at > 0 else None
