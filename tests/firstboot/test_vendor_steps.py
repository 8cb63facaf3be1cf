"""The steps that undo what a vendor's image brings, or do what its lack of cloud-init leaves undone."""

from __future__ import annotations

import pytest
from node_folder import NodeFolder

CLOSE = "steps/16-vendor-account"
SPEAK = "steps/17-language"


@pytest.fixture
def stock(node: NodeFolder) -> NodeFolder:
    """A node of ann's, from an image with the account pi."""
    node.configure(USER_NAME="ann")
    node.write("etc/imagesmith/closed-accounts", "pi\n")
    node.write("passwd", "pi:x:1000:1000::/home/pi:/bin/bash\nann:x:1001:1001::/home/ann:/bin/bash\n")
    node.stand_in("getent", 'grep "^$2:" "$ROOT/passwd"')
    node.stand_in("locale", "printf 'C\\nC.utf8\\nen_GB.utf8\\nPOSIX\\n'")
    return node


def test_the_vendors_account_has_no_password_no_day_left_and_no_shell(stock: NodeFolder) -> None:
    assert stock.run(CLOSE).returncode == 0
    assert "usermod --lock --expiredate 1 --shell /usr/sbin/nologin -- pi" in stock.calls


def test_the_configured_user_is_never_closed(stock: NodeFolder) -> None:
    stock.configure(USER_NAME="pi")
    assert stock.run(CLOSE).returncode == 0
    assert not any(call.startswith("usermod") for call in stock.calls)


def test_without_a_configured_user_the_only_account_stays(stock: NodeFolder) -> None:
    stock.configure()
    assert stock.run(CLOSE).returncode == 0
    assert not any(call.startswith("usermod") for call in stock.calls)


def test_an_account_that_was_renamed_meanwhile_is_nobodys_fault(stock: NodeFolder) -> None:
    stock.write("passwd", "ann:x:1000:1000::/home/ann:/bin/bash\n")
    done = stock.run(CLOSE)
    assert (done.returncode, done.stdout) == (0, "there is no pi\n")


def test_an_image_without_such_an_account_passes(node: NodeFolder) -> None:
    assert node.run(CLOSE).stdout == "no account is to be closed\n"


def test_an_account_that_cannot_be_closed_fails_the_step(stock: NodeFolder) -> None:
    stock.stand_in("usermod", "exit 1")
    assert stock.run(CLOSE).returncode != 0


def test_the_account_is_closed_only_once_there_is_another(stock: NodeFolder) -> None:
    assert "# needs: 15-account\n" in (stock.library / CLOSE).read_text()


def test_a_locale_that_is_not_there_is_made_and_the_others_stay(stock: NodeFolder) -> None:
    stock.write("etc/default/locale", "LANG=de_DE.UTF-8\n")
    assert stock.run(SPEAK).returncode == 0
    assert "locale-gen --keep-existing" in stock.calls


@pytest.mark.parametrize("there", ["en_GB.UTF-8", "'en_GB.UTF-8'", "C.UTF-8", "POSIX"])
def test_a_locale_that_is_there_is_not_made_again(stock: NodeFolder, there: str) -> None:
    stock.write("etc/default/locale", f"LANG={there}\n")
    assert stock.run(SPEAK).returncode == 0
    assert "locale-gen --keep-existing" not in stock.calls


def test_a_locale_that_cannot_be_made_fails_the_step(stock: NodeFolder) -> None:
    stock.write("etc/default/locale", "LANG=de_DE.UTF-8\n")
    stock.stand_in("locale-gen", "exit 1")
    done = stock.run(SPEAK)
    assert done.returncode != 0
    assert "could not make de_DE.UTF-8" in done.stderr


def test_the_keyboard_is_saved_for_every_start(stock: NodeFolder) -> None:
    assert stock.run(SPEAK).returncode == 0
    assert "setupcon --force --save-only" in stock.calls


def test_where_there_is_cloud_init_the_language_is_left_to_it(stock: NodeFolder) -> None:
    stock.write("etc/default/locale", "LANG=de_DE.UTF-8\n")
    stock.write("usr/bin/cloud-init", "").chmod(0o755)
    assert stock.run(SPEAK).returncode == 0
    assert not any(call.startswith(("locale-gen", "setupcon")) for call in stock.calls)


def test_swap_is_left_to_rpi_swap_where_there_is_one(node: NodeFolder) -> None:
    for name in ("rpi-swap-generator", "zram-generator"):
        node.write(f"usr/lib/systemd/system-generators/{name}", "").chmod(0o755)
    node.write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n")
    done = node.run("steps/50-card-life")
    assert done.returncode == 0, done.stderr
    assert not node.exists("etc/systemd/zram-generator.conf")
    assert "rpi-swap sets up swap" in done.stdout
