"""How a URL is told to people: without what may be a secret in it.

Called by whatever fetches, and by `workflow` for the address of an image. Touches nothing.
"""

from __future__ import annotations

import re


def shown(url: str) -> str:
    """`url` without user, password, query (which is where publishers sign addresses) and fragment."""
    return re.sub(r"^([^/?#]*//)[^/?#]*@", r"\1", re.split(r"[?#]", url, maxsplit=1)[0])
