"""Secrets that can't be printed by accident, and names of secrets that are resolved late."""

from __future__ import annotations

from dataclasses import dataclass


class Secret:
    """Bytes that show as `***` everywhere but in `reveal()`. Never in a plan, a log or JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True)
class SecretRef:
    """The name of a secret, as a plan carries it; `resources.resolve` turns it into a Secret."""

    name: str
