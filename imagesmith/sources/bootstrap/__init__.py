"""Base images made here from Debian's packages: resolve the packages, make the tree, assemble the disk.

obtain.py      the policy: what is in the cache, what has to be made          <- `obtain_debian`
recipe.py      what is to be made, and the identity (UUIDs) of what was made  pure
packages.py    package states out of apt's and dpkg's own texts              pure
settings.py    the few files that are laid over Debian's own                 pure
mmdebstrap.py  the adapter: command lines, progress, failures
foreign.py     running another architecture's programs: what is needed, and that nothing native stays behind
tree.py        package state -> tar archives of the root and of the boot partition
assemble.py    tar archives -> raw disk image, without root and without mounting
hooks/         what is done inside the tree, as shell scripts
"""

from imagesmith.sources.bootstrap.obtain import in_cache, obtain_debian, state_key

__all__ = ["in_cache", "obtain_debian", "state_key"]
