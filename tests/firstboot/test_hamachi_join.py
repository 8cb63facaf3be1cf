"""hamachi-join with a stand-in client, whose words are those of 2.1.0.203: what is done is not done again."""

from __future__ import annotations

import subprocess

import pytest
from node_folder import NodeFolder

PASSWORD = "open sesame"
CLIENT = """\
cd "$ROOT/hamachi"
case ${1:-} in
'')
    echo "  version    : 2.1.0.203"
    echo "  status     : $(cat status)"
    echo "  client id  : 111-222-333"
    echo "  nickname   : $(cat nick)"
    echo "  lmi account: $(cat account)" ;;
login)
    [ ! -f refuse ] || exit 1
    echo "logged in" >status ;;
set-nick) echo "$2" >nick ;;
attach) echo "$2 (pending)" >account ;;
list) cat networks ;;
do-join)
    read -r word
    echo "$word" >password
    [ -f approve ] || echo " * [$2]home  capacity: 1/5, subscription type: Free" >>networks ;;
esac
"""


@pytest.fixture
def made(node: NodeFolder) -> NodeFolder:
    conf = "HAMACHI_NETWORK='123-456-789'\nHAMACHI_ACCOUNT=''\nHAMACHI_NICK='head'\nHAMACHI_WAIT_S='1'\n"
    node.write("etc/imagesmith/hamachi.conf", conf)
    for name, text in {"status": "offline", "nick": "old", "account": "-", "networks": ""}.items():
        node.write(f"hamachi/{name}", f"{text}\n")
    node.stand_in("hamachi", CLIENT)
    return node


def join(node: NodeFolder) -> subprocess.CompletedProcess[str]:
    return subprocess.run([node.library / "hamachi-join"], env=node.environment, input=f"{PASSWORD}\n", text=True,
                          capture_output=True, timeout=60, check=False)  # fmt: skip


def test_it_logs_in_names_the_node_and_joins(made: NodeFolder) -> None:
    done = join(made)
    assert done.returncode == 0, done.stderr
    assert made.read("hamachi/nick") == "head\n"
    assert "hamachi login" in made.calls and "hamachi do-join 123-456-789" in made.calls


def test_the_password_goes_by_standard_input_alone(made: NodeFolder) -> None:
    done = join(made)
    assert made.read("hamachi/password") == f"{PASSWORD}\n"
    assert PASSWORD not in "\n".join(made.calls) + done.stdout + done.stderr


def test_a_node_that_is_in_is_left_in_peace(made: NodeFolder) -> None:
    join(made)
    before = len([call for call in made.calls if "do-join" in call])
    assert join(made).returncode == 0
    assert len([call for call in made.calls if "do-join" in call]) == before == 1


def test_a_network_is_known_by_its_name_too(made: NodeFolder) -> None:
    made.write("hamachi/networks", " * [123-456-789]home  capacity: 1/5\n")
    made.write("etc/imagesmith/hamachi.conf", "HAMACHI_NETWORK='home'\nHAMACHI_NICK='head'\n")
    assert join(made).returncode == 0
    assert "hamachi do-join home" not in made.calls


def test_another_network_whose_name_begins_alike_is_not_taken_for_it(made: NodeFolder) -> None:
    made.write(
        "hamachi/networks", " * [123-456-789]homeoffice  capacity: 1/5\n * [123-456-780]home two  capacity: 1/5\n"
    )
    made.write("etc/imagesmith/hamachi.conf", "HAMACHI_NETWORK='home'\nHAMACHI_NICK='head'\n")
    join(made)
    assert "hamachi do-join home" in made.calls


def test_a_name_of_two_words_is_known(made: NodeFolder) -> None:
    made.write("hamachi/networks", " * [123-456-789]  my home   capacity: 1/5\n")
    made.write("etc/imagesmith/hamachi.conf", "HAMACHI_NETWORK='my home'\nHAMACHI_NICK='head'\n")
    assert join(made).returncode == 0
    assert "hamachi do-join my home" not in made.calls


def test_an_account_is_asked_to_own_the_node_once(made: NodeFolder) -> None:
    made.write("etc/imagesmith/hamachi.conf", "HAMACHI_NETWORK='123-456-789'\nHAMACHI_ACCOUNT='me@example.org'\n")
    join(made)
    join(made)
    assert made.calls.count("hamachi attach me@example.org") == 1


def test_servers_that_refuse_fail_it_so_that_it_is_tried_again(made: NodeFolder) -> None:
    made.write("hamachi/refuse", "")
    done = join(made)
    assert done.returncode == 1
    assert "could not log in" in done.stderr


def test_a_network_that_approves_by_hand_is_told_with_the_node_s_id(made: NodeFolder) -> None:
    made.write("hamachi/approve", "")
    done = join(made)
    assert done.returncode == 1
    assert "approve this node, 111-222-333" in done.stderr


def test_a_client_that_does_not_answer_is_told(made: NodeFolder) -> None:
    made.stand_in("hamachi", "exit 1")
    assert "does not answer" in join(made).stderr
