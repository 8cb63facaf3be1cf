"""The identity that ZeroTierOne's self-test publishes."""

from __future__ import annotations

# selftest.cpp of ZeroTierOne: KNOWN_GOOD_IDENTITY, with its private half. Nobody uses it.
ADDRESS = "8e4df28b72"
PUBLIC = (
    "ac3d46abe0c21f3cfe7a6c8d6a85cfcffcb82fbd55af6a4d6350657c68200843"
    "fa2e16f9418bbd9702cae365f2af5fb4c420908b803a681d4daef6114d78a2d7"
)
PRIVATE = (
    "bd8dd6e4ce7022d2f812797a80c6ee8ad180dc4ebf301dec8b06d1be08832bdd"
    "d63a2f1cfa7b2c504474c75bdc8898ba476ef92e8e2d0509f8441985171ff16e"
)
GOOD = f"{ADDRESS}:0:{PUBLIC}:{PRIVATE}"
