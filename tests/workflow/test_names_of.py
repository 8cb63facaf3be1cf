"""What a node may be called in a command, and so in known_hosts."""

from __future__ import annotations

import pytest

from imagesmith.model import Network, Node
from imagesmith.workflow.sealed import names_of


@pytest.mark.parametrize(
    ("network", "address"),
    [
        (Network("192.168.1.10/24"), ("192.168.1.10",)),
        (Network(mac="dc:a6:32:01:02:03", reserved="192.168.1.11"), ("192.168.1.11",)),
        (Network(resolvable=True), ()),
    ],
)
def test_a_node_has_its_name_and_what_is_known_of_its_address(network: Network, address: tuple[str, ...]) -> None:
    assert names_of(Node("n", "p", network=network, domain="home.arpa")) == ("n", "n.home.arpa", *address)
