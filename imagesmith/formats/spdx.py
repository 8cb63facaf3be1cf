"""The software bill of materials beside an image: an SPDX 2.3 document in JSON, made from its manifest.

Called by `output` (seal). Touches nothing; the same manifest gives the same document.
Sources: SPDX 2.3, clauses 6, 7 and 11; package URLs of type deb as purl-spec has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID, uuid5

from imagesmith.formats.manifest import Manifest
from imagesmith.model import Digest, Package

_DOCUMENT = "SPDXRef-DOCUMENT"
_IMAGE = "SPDXRef-Image"
_BASE = "SPDXRef-Base"
_UNKNOWN = "NOASSERTION"
# Any constant does: it keeps our documents' ids apart from other people's.
_NAMESPACE = UUID("9d3c1c5e-7f0b-4c62-9a5a-0f2d6e4b81a7")


def encode(manifest: Manifest) -> bytes:
    """The document's file: UTF-8 JSON, keys sorted, a newline at the end. It is dated with the image's epoch."""
    packages = sorted(manifest.packages, key=lambda package: (package.name, package.architecture, package.version))
    named = [(_package_id(index, package), package) for index, package in enumerate(packages, 1)]
    relations = [
        _relation(_DOCUMENT, "DESCRIBES", _IMAGE),
        _relation(_IMAGE, "GENERATED_FROM", _BASE),
        *(_relation(_IMAGE, "CONTAINS", package_id) for package_id, _ in named),
    ]
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": manifest.name,
        "documentNamespace": _document_namespace(manifest),
        "creationInfo": {
            "created": datetime.fromtimestamp(manifest.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: imagesmith-{manifest.imagesmith}"],
        },
        "packages": [_image(manifest), _base(manifest), *(_package(*pair) for pair in named)],
        "relationships": relations,
    }
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def purl(package: Package) -> str:
    """The package URL of a Debian package, as `pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=arm64`."""
    name, version = quote(package.name.lower(), safe=""), quote(package.version, safe=":")
    return f"pkg:deb/debian/{name}@{version}?arch={quote(package.architecture, safe='')}"


def _document_namespace(manifest: Manifest) -> str:
    # Of plan and image: another tool version may make other bytes of the same plan, and is another document.
    return uuid5(_NAMESPACE, f"{manifest.plan_id} {manifest.image.digest}").urn


def _image(manifest: Manifest) -> dict[str, object]:
    return {
        **_described(_IMAGE, manifest.name, manifest.image.digest),
        "versionInfo": manifest.plan_id,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "comment": f"The raw disk image, {manifest.image.size} bytes; its version is its plan's id.",
    }


def _base(manifest: Manifest) -> dict[str, object]:
    base = manifest.plan.get("base")
    name, url = manifest.name + " base", _UNKNOWN
    if isinstance(base, Mapping):
        name = str(base.get("name") or name)
        source = base.get("source")
        if isinstance(source, Mapping) and source.get("kind") == "HttpSource":
            url = str(source.get("url") or _UNKNOWN)
    published = f" Published as {manifest.base.published}." if manifest.base.published else ""
    return {
        **_described(_BASE, name, manifest.base.digest),
        "downloadLocation": url,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "sourceInfo": f"{manifest.base.trust}.{published}",
    }


def _package(package_id: str, package: Package) -> dict[str, object]:
    return {
        **_described(package_id, package.name, None),
        "versionInfo": package.version,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl(package),
            }
        ],
    }


def _described(spdx_id: str, name: str, digest: Digest | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "SPDXID": spdx_id,
        "name": name,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }
    if digest:
        fields["checksums"] = [{"algorithm": digest.algorithm.upper(), "checksumValue": digest.hex}]
    return fields


def _package_id(index: int, package: Package) -> str:
    # Ids know letters, digits, dot and dash; the index keeps libfoo+ and libfoo- apart.
    return f"SPDXRef-Package-{index}-{re.sub(r'[^A-Za-z0-9.-]', '-', package.name)}"


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
