"""Where a package is published that is in no archive of the systems themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PackageArchive:
    """An archive that apt asks for one package and for nothing else; without `url` there is none."""

    package: str
    url: str = ""
    """With `{codename}` where the system's goes."""
    suite: str = ""
    components: tuple[str, ...] = ()
    key_url: str = ""
    fingerprints: tuple[str, ...] = ()
    """The primary keys that may sign it."""
    codenames: Mapping[str, str] = field(default_factory=dict)
    """For systems that it has no suite for."""
    needs: tuple[str, ...] = ()
    """What a package needs of the base whose file is not at hand to be asked."""

    def named(self, codename: str) -> tuple[str, str]:
        """The address and the suite for a system."""
        found = self.codenames.get(codename, codename)
        return self.url.replace("{codename}", found), self.suite.replace("{codename}", found)
