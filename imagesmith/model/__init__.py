"""The nouns of the sentence in docs/architecture.md, as frozen values. No file is opened here.

A `Profile` and a `Node` make a `BuildPlan`; the plan turns a verified `Base` into an `Image` with a `BlockMap`
and a manifest; an image is flashed to a `Device`, read back, and booted to prove it.
Sizes are bytes, durations seconds, times seconds since 1970 (UTC), unless a name says otherwise.
"""

from __future__ import annotations

from imagesmith.model.found import (
    BlockMap,
    Device,
    FileSystem,
    Image,
    MappedRange,
    ObtainedBase,
    Package,
    Partition,
    Refusal,
)
from imagesmith.model.machine import QemuMachine
from imagesmith.model.origins import (
    Base,
    DebianSource,
    Digest,
    DiskLayout,
    FileSource,
    Follow,
    HttpSource,
    PartitionSpec,
    Signature,
    Source,
)
from imagesmith.model.planned import (
    BuildPlan,
    Content,
    Edit,
    EnsureLine,
    EnsureToken,
    FileContent,
    Link,
    MakeDir,
    PartitionRole,
    Promise,
    PutFile,
    Remove,
)
from imagesmith.model.wanted import (
    Architecture,
    Board,
    Cluster,
    Documents,
    Materials,
    Network,
    Node,
    Profile,
    Role,
    Settings,
    Wifi,
)

__all__ = [
    "Architecture",
    "Base",
    "BlockMap",
    "Board",
    "BuildPlan",
    "Cluster",
    "Content",
    "DebianSource",
    "Device",
    "Digest",
    "DiskLayout",
    "Documents",
    "Edit",
    "EnsureLine",
    "EnsureToken",
    "FileContent",
    "FileSource",
    "FileSystem",
    "Follow",
    "HttpSource",
    "Image",
    "Link",
    "MakeDir",
    "MappedRange",
    "Materials",
    "Network",
    "Node",
    "ObtainedBase",
    "Package",
    "Partition",
    "PartitionRole",
    "PartitionSpec",
    "Profile",
    "Promise",
    "PutFile",
    "QemuMachine",
    "Refusal",
    "Remove",
    "Role",
    "Settings",
    "Signature",
    "Source",
    "Wifi",
]
