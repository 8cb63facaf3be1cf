"""What the stand-in for k3s reads by itself: YAML where PyYAML is missing, and kubectl's jsonpath."""

from __future__ import annotations

from pathlib import Path

import pytest
from standins.k3s.program import jsonpath, yamlish
from standins.k3s.program.words import Fatal

DOCUMENTS = [
    'token: "K10ab::node:pass#word"\nnode-label: ["a=b", "c=d"]\nsecrets-encryption: true\n',
    '{"a": ["b", 1, true], "c": {"d": ""}}',
    "# head\na:\n- b\n- 'it''s'\nc:\n  d: e # end\n  f: []\n\"g h\": http://x:1/y\n",
    'a:\n  - name: x\n    value: "1"\n  - name: y\n    from:\n      - z: [q, r]\n  -\n    name: w\n',
    "b: |\n  one\n  two\nc: >-\n  d\n  e\nf: g\n",
    "---\na: b\n---\n- c\n- d: e\n...\n",
]


@pytest.mark.parametrize("text", DOCUMENTS)
def test_its_own_yaml_reads_as_pyyaml_does(text: str) -> None:
    assert yamlish.documents(text, "x", subset=True) == yamlish.documents(text, "x")


def test_its_own_yaml_reads_the_manifest_of_the_first_boot() -> None:
    text = (Path(__file__).parents[2] / "firstboot/cluster/kube-vip.yaml").read_text()
    assert yamlish.documents(text, "x", subset=True) == yamlish.documents(text, "x")


@pytest.mark.parametrize(
    "text", ["a: b\n c: d\n", "a: &x b\n", "a: 'b\n", "a: {b: c}\n", "a\n", "\ta: b\n", "a: b\na: c\n"]
)
def test_its_own_yaml_refuses_what_it_does_not_read(text: str) -> None:
    with pytest.raises(Fatal, match="failed to parse x"):
        yamlish.mapping(text, "x", subset=True)


def test_jsonpath_finds_keys_with_dots_and_every_item() -> None:
    nodes = {"items": [{"metadata": {"name": "a", "annotations": {"x.y/z": "1"}}}, {"metadata": {"name": "b"}}]}
    template = r"{.items[*].metadata.name} {.items[0].metadata.annotations.x\.y/z}{'\n'}"
    assert jsonpath.rendered(template, nodes) == "a b 1\n"
    assert jsonpath.rendered("{.items[1].metadata.annotations.none}", nodes) == ""
