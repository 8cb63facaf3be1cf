"""What is a password's hash and what a Wi-Fi key, by other programs and by the standard; no complaint shows it."""

from __future__ import annotations

import ctypes
import subprocess

import pytest
import yaml

from imagesmith.formats.canonical import canonical_json
from imagesmith.formats.credentials import named_in, password_hash, revealed, wpa_key
from imagesmith.secret import PasswordHash, Quoted, Secret, SecretRef, SecretText, WpaKey, Written

PLAIN = b"hunter2hunter2"
REF = SecretRef("file:a")
YESCRYPT = b"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
BCRYPT = b"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"


@pytest.mark.parametrize("kind", ["-5", "-6"])
def test_what_openssl_makes_is_a_hash(kind: str) -> None:
    made = subprocess.run(["openssl", "passwd", kind, "-stdin"], input=PLAIN, capture_output=True, check=True).stdout
    assert password_hash(made.strip()) == made.strip()


@pytest.mark.parametrize("kind", ["$y$", "$gy$", "$7$", "$2b$", "$6$", "$5$"])
def test_what_the_system_makes_is_a_hash(kind: str) -> None:
    """By the library that checks it at the log-in, too."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt_gensalt.restype = library.crypt.restype = ctypes.c_char_p
    salt = bytes(library.crypt_gensalt(kind.encode(), ctypes.c_ulong(0), None, 0))
    made = bytes(library.crypt(PLAIN, salt))
    assert made.startswith(kind.encode())
    assert password_hash(made) == made


@pytest.mark.parametrize("good", [YESCRYPT, BCRYPT, b"$6$rounds=5000$abc$" + b"x" * 86])
def test_other_hashes_of_crypt(good: bytes) -> None:
    assert password_hash(good) == good


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (PLAIN, "a plain password never goes into an image"),
        (b"$1$abc$" + b"x" * 22, "MD5"),
        (b"!" + YESCRYPT, "locked"),
        (b"*", "locked"),
        (b"admin:" + YESCRYPT + b":20000:0:99999:7:::", "only its second field"),
        (YESCRYPT[:-1], "cut off"),
        (YESCRYPT + b"x", "cut off"),
        (YESCRYPT + b"\n", "cut off"),
        (b"$9$abc$" + b"x" * 86, "unknown kind"),
        (b"$6$a:b$" + b"x" * 86, "unknown kind"),
    ],
)
def test_what_is_no_hash_is_refused_without_showing_it(bad: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        password_hash(bad)
    assert bad.decode() not in str(caught.value) or bad == b"*"
    assert "hunter2" not in str(caught.value)


# IEEE 802.11i, H.4.3.
@pytest.mark.parametrize(
    ("passphrase", "ssid", "key"),
    [
        ("password", "IEEE", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"),
        ("ThisIsAPassword", "ThisIsASSID", "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"),
        ("a" * 32, "Z" * 32, "becb93866bb8c3832cb777c2f559807c8c59afcb6eae734885001300a981cc62"),
    ],
)
def test_keys_are_those_of_the_standard(passphrase: str, ssid: str, key: str) -> None:
    assert wpa_key(passphrase.encode(), ssid) == key.encode()


def test_a_key_stays_a_key() -> None:
    assert wpa_key(b"AB" * 32, "any") == b"ab" * 32


@pytest.mark.parametrize("good", [b"8letters", b'"; \\#$(x)', b"x" * 63])
def test_every_printable_passphrase_becomes_64_hex_digits(good: bytes) -> None:
    key = wpa_key(good, "Café ☕")
    assert len(key) == 64
    assert set(key) <= set(b"0123456789abcdef")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b"short77", "fewer than the 8"),
        (b"x" * 64, "63 characters"),
        ("grün-grün".encode(), "ASCII"),
        (b"tab\there-and", "ASCII"),
    ],
)
def test_what_is_no_passphrase_is_refused_without_showing_it(bad: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        wpa_key(bad, "home")
    assert bad.decode() not in str(caught.value)


def test_a_text_is_put_together() -> None:
    text = SecretText((b"psk=", WpaKey(REF, "IEEE"), b"\n"))
    made = revealed(text, lambda ref: Secret(b"password"))
    assert made.reveal() == b"psk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e\n"


def test_a_text_with_a_wrong_secret_is_not_put_together() -> None:
    with pytest.raises(ValueError, match="no password hash"):
        revealed(SecretText((PasswordHash(REF), b"\n")), lambda ref: Secret(PLAIN))


def test_the_secrets_of_a_text_are_named() -> None:
    other = SecretRef("file:b")
    assert named_in(SecretText((b"x", REF, PasswordHash(other), WpaKey(REF, "y")))) == (REF, other, REF)


def test_a_plan_tells_a_text_by_names_only() -> None:
    text = SecretText((b"psk=", WpaKey(SecretRef("file:wifi.key", Written("/home/ann/cluster.yaml", 7)), "home")))
    told = canonical_json(text).decode()
    assert '"name":"file:wifi.key"' in told
    assert "ann" not in told


def test_where_a_secret_is_named_is_no_part_of_it() -> None:
    assert SecretRef("file:a", Written("x.yaml", 1)) == SecretRef("file:a", Written("y.yaml", 2))


@pytest.mark.parametrize(
    "value", ["plain", ' a "b" \\n: #', "tab\tbell\x07", "é\x85\u2028", "\U0001f511", "'", "%{x}&*!|>"]
)
def test_a_quoted_secret_is_read_back_by_a_yaml_parser(value: str) -> None:
    text = SecretText((b'password: "', Quoted(REF), b'"\n'))
    made = revealed(text, lambda ref: Secret(value.encode()))
    assert yaml.safe_load(made.reveal()) == {"password": value}


def test_what_is_no_text_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="no text"):
        revealed(SecretText((Quoted(REF),)), lambda ref: Secret(b"\xff\xfe"))
