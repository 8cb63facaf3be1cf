"""The bill of materials, held against the field list of SPDX 2.3 (clauses 6, 7 and 11)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.formats import spdx
from imagesmith.formats.manifest import BaseRecord, ImageRecord, Manifest
from imagesmith.model import Digest, Package

PACKAGES = (
    Package("libstdc++6", "14.2.0-19", "arm64"),
    Package("bind9-host", "1:9.20.11-4+b1", "arm64"),
    Package("adduser", "3.152", "all"),
)
MANIFEST = Manifest(
    imagesmith="0.1.0",
    name="node-1",
    plan_id="ab" * 32,
    plan={"base": {"name": "trixie", "source": {"kind": "HttpSource", "url": "https://example.org/a.img.xz"}}},
    architecture="arm64",
    hostname="node-1",
    epoch=1_700_000_000,
    base=BaseRecord(Digest.of(b"raw"), Digest("sha512", "cd" * 64), "signed by its publisher", 1_700_000_000),
    image=ImageRecord(1 << 31, Digest.of(b"image")),
    block_map="node-1.img.bmap",
    files=(),
    packages=PACKAGES,
    tools={},
    machine=None,
    promises=(),
)


def required(**fields: object) -> dict[str, object]:
    return {"type": "object", "required": list(fields), "properties": fields, "additionalProperties": False}


def optional(schema: dict[str, Any], **fields: object) -> dict[str, object]:
    return {**schema, "properties": {**schema["properties"], **fields}}


TEXT = {"type": "string", "minLength": 1}
SPDX_ID = {"type": "string", "pattern": r"^SPDXRef-[A-Za-z0-9.\-]+$"}
URI = {"type": "string", "pattern": r"^[a-z][a-z0-9+.\-]*:[^#\s]+$"}
CHECKSUM = {
    "oneOf": [
        required(algorithm={"const": "SHA256"}, checksumValue={"type": "string", "pattern": "^[0-9a-f]{64}$"}),
        required(algorithm={"const": "SHA512"}, checksumValue={"type": "string", "pattern": "^[0-9a-f]{128}$"}),
    ]
}
REFERENCE = required(
    referenceCategory={"enum": ["SECURITY", "PACKAGE-MANAGER", "PERSISTENT-ID", "OTHER"]},
    referenceType={"const": "purl"},
    referenceLocator={"type": "string", "pattern": "^pkg:deb/debian/[^/@?#]+@[^/@?#]+\\?arch=[a-z0-9]+$"},
)
PACKAGE = optional(
    required(
        SPDXID=SPDX_ID,
        name=TEXT,
        downloadLocation={"anyOf": [URI, {"enum": ["NOASSERTION", "NONE"]}]},
        filesAnalyzed={"const": False},
    ),
    versionInfo=TEXT,
    licenseConcluded=TEXT,
    licenseDeclared=TEXT,
    copyrightText=TEXT,
    comment=TEXT,
    sourceInfo=TEXT,
    primaryPackagePurpose={"enum": ["OPERATING-SYSTEM", "FIRMWARE", "APPLICATION", "FILE", "OTHER"]},
    checksums={"type": "array", "items": CHECKSUM, "minItems": 1},
    externalRefs={"type": "array", "items": REFERENCE, "minItems": 1},
)
RELATION = required(
    spdxElementId=SPDX_ID,
    relationshipType={"enum": ["DESCRIBES", "CONTAINS", "GENERATED_FROM"]},
    relatedSpdxElement=SPDX_ID,
)
SCHEMA = required(
    spdxVersion={"const": "SPDX-2.3"},
    dataLicense={"const": "CC0-1.0"},
    SPDXID={"const": "SPDXRef-DOCUMENT"},
    name=TEXT,
    documentNamespace=URI,
    creationInfo=required(
        created={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
        creators={"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^Tool: .+-.+$"}},
    ),
    packages={"type": "array", "items": PACKAGE, "minItems": 2},
    relationships={"type": "array", "items": RELATION, "minItems": 2},
)


def document(manifest: Manifest = MANIFEST) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(spdx.encode(manifest))
    return found


def test_the_document_has_the_shape_of_spdx_2_3():
    jsonschema.validate(document(), SCHEMA)


@given(st.text("ab+-.~1:", min_size=1), st.text("ab+-.~1:", min_size=1))
def test_names_and_versions_of_any_kind_keep_the_shape(name: str, version: str):
    jsonschema.validate(document(replace(MANIFEST, packages=(Package(name, version, "all"),))), SCHEMA)


def test_every_id_is_used_once_and_every_relation_has_its_ends():
    packages = (*PACKAGES, Package("libstdc--6", "1", "arm64"), Package("adduser", "3.152", "arm64"))
    found = document(replace(MANIFEST, packages=packages))
    ids = [found["SPDXID"], *(package["SPDXID"] for package in found["packages"])]
    assert len(set(ids)) == len(ids) == 3 + len(packages)
    relations = found["relationships"]
    assert {row["spdxElementId"] for row in relations} | {row["relatedSpdxElement"] for row in relations} == set(ids)


def test_the_image_is_what_it_describes_and_contains_every_package():
    found = document()
    relations = [(row["spdxElementId"], row["relationshipType"]) for row in found["relationships"]]
    image = "SPDXRef-Image"
    assert relations == [
        ("SPDXRef-DOCUMENT", "DESCRIBES"),
        (image, "GENERATED_FROM"),
        *[(image, "CONTAINS")] * len(PACKAGES),
    ]
    contained = {row["relatedSpdxElement"] for row in found["relationships"][2:]}
    assert contained == {package["SPDXID"] for package in found["packages"][2:]}


def test_image_and_base_bear_their_digests():
    image, base = document()["packages"][:2]
    assert (image["name"], image["checksums"][0]["checksumValue"]) == ("node-1", Digest.of(b"image").hex)
    assert (base["name"], base["checksums"][0]["checksumValue"]) == ("trixie", Digest.of(b"raw").hex)
    assert base["downloadLocation"] == "https://example.org/a.img.xz"
    assert base["sourceInfo"] == f"signed by its publisher. Published as sha512:{'cd' * 64}."


@pytest.mark.parametrize("plan", [{}, {"base": {"name": "x", "source": {"kind": "DebianSource"}}}, {"base": "x"}])
def test_a_base_without_address_says_so(plan: dict[str, object]):
    made_here = replace(MANIFEST, plan=plan, base=replace(MANIFEST.base, published=None))
    jsonschema.validate(document(made_here), SCHEMA)
    base = document(made_here)["packages"][1]
    assert (base["downloadLocation"], base["sourceInfo"]) == ("NOASSERTION", "signed by its publisher.")


@pytest.mark.parametrize(
    ("package", "purl"),
    [
        (PACKAGES[0], "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=arm64"),
        (PACKAGES[1], "pkg:deb/debian/bind9-host@1:9.20.11-4%2Bb1?arch=arm64"),
        (PACKAGES[2], "pkg:deb/debian/adduser@3.152?arch=all"),
        (Package("curl", "8.14.1-2~deb13u1", "amd64"), "pkg:deb/debian/curl@8.14.1-2~deb13u1?arch=amd64"),
    ],
)
def test_a_debian_package_has_its_package_url(package: Package, purl: str):
    assert spdx.purl(package) == purl
    listed = document(replace(MANIFEST, packages=(package,)))["packages"][2]
    assert (listed["name"], listed["versionInfo"]) == (package.name, package.version)
    assert listed["externalRefs"][0]["referenceLocator"] == purl


def test_it_is_dated_with_the_image_s_epoch():
    assert document()["creationInfo"]["created"] == "2023-11-14T22:13:20Z"


def test_the_order_of_packages_does_not_show():
    assert spdx.encode(replace(MANIFEST, packages=PACKAGES[::-1])) == spdx.encode(MANIFEST)


def test_another_plan_or_another_image_is_another_document():
    spaces = {
        document(manifest)["documentNamespace"]
        for manifest in (
            MANIFEST,
            replace(MANIFEST, plan_id="ef" * 32),
            replace(MANIFEST, image=ImageRecord(1 << 31, Digest.of(b"other"))),
        )
    }
    assert len(spaces) == 3
