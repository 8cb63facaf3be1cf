"""Lines of KEY='value', which a shell and the first boot's own reader take alike.

Called by whoever tells a node's scripts something: `planning.payload`, modules of `cluster`.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.errors import UsageError


def assignments(values: Mapping[str, str]) -> bytes:
    """One line a value; raises UsageError for values of several lines."""
    lines = []
    for key, value in values.items():
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise UsageError(f"the value {value!r} for {key} has a control character", hint="write it on one line")
        quoted = value.replace("'", "'\\''")
        lines.append(f"{key}='{quoted}'\n")
    return "".join(lines).encode()
