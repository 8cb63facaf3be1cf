"""One certificate: what its draw must be, and reading PEM back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from identity.drawing import NOW, elliptic, said

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.identity import certificates
from imagesmith.identity.certificates import Drawn, Issuer
from imagesmith.secret import Secret

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("serial", [0, -1, 1 << 159])
def test_a_serial_number_that_x509_does_not_allow_is_refused(serial: int) -> None:
    with pytest.raises(ValueError, match="serial"):
        Drawn(KEY, serial, NOW)


@pytest.mark.parametrize("begin", [datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 0, 5, UTC)])
def test_a_time_that_no_certificate_can_hold_is_refused(begin: datetime) -> None:
    with pytest.raises(ValueError, match="whole second"):
        Drawn(KEY, 1, begin)


def test_a_time_elsewhere_is_the_same_moment() -> None:
    there = datetime(2026, 11, 1, 13, 30, tzinfo=timezone(timedelta(hours=1)))
    made = certificates.authority(Drawn(KEY, 7, there), "a", 10, None)
    text = said("openssl", "x509", "-noout", "-startdate", given=certificates.pem(made))
    assert text == "notBefore=Nov  1 12:30:00 2026 GMT\n"


def issuer(days: int = 10) -> Issuer:
    drawn = elliptic()
    return Issuer(certificates.authority(drawn, "above", days, None), drawn.key)


def test_a_client_that_would_outlive_its_authority_is_refused() -> None:
    with pytest.raises(UsageError, match="its authority is from") as caught:
        certificates.client(elliptic(), "somebody", (), timedelta(days=11), issuer())
    assert "lifetime" in caught.value.hint


def test_a_client_that_begins_before_its_authority_is_refused() -> None:
    with pytest.raises(UsageError, match="its authority is from") as caught:
        certificates.client(elliptic(NOW - timedelta(days=1)), "somebody", (), timedelta(days=1), issuer())
    assert "clock" in caught.value.hint


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=-1)])
def test_no_lifetime_is_refused(lifetime: timedelta) -> None:
    with pytest.raises(UsageError, match="last a while"):
        certificates.client(elliptic(), "somebody", (), lifetime, issuer())


@pytest.mark.parametrize("name", ["", "a" * 65])
def test_a_name_that_fits_into_no_certificate_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="can't stand"):
        certificates.client(elliptic(), name, (), timedelta(days=1), issuer())


def made() -> bytes:
    return certificates.pem(certificates.authority(elliptic(), "a", 10, None))


def test_text_and_carriage_returns_around_certificates_are_passed_over() -> None:
    first, second = made(), made()
    noisy = b"subject=/CN=a\n" + first.replace(b"\n", b"\r\n") + b"\n# a comment\n" + second.removesuffix(b"\n")
    assert certificates.pem(*certificates.read(noisy)) == first + second


def test_keys_and_blocks_with_headers_are_passed_over() -> None:
    first, second = made(), made()
    headed = second.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nProc-Type: 4\n\n", 1)
    key = certificates.key_pem(KEY).reveal()
    assert certificates.pem(*certificates.read(headed + key + first)) == first


@pytest.mark.parametrize("content", [b"", b"not here", certificates.key_pem(KEY).reveal()])
def test_a_file_without_a_certificate_is_named(content: bytes) -> None:
    with pytest.raises(ContentMalformed, match=r"ca\.crt: this file holds no certificate"):
        certificates.read(content, "ca.crt")


def test_which_certificate_is_damaged_is_told() -> None:
    good, bad = made(), made().splitlines(keepends=True)
    del bad[2]
    with pytest.raises(ContentMalformed, match="certificate 2 can't be read"):
        certificates.read(good + b"".join(bad))


def test_a_key_that_is_no_elliptic_one_is_refused() -> None:
    with pytest.raises(ContentMalformed, match="elliptic"):
        certificates.read_key(Secret(said("openssl", "genrsa", "1024").encode()))


def test_a_key_with_a_passphrase_is_refused_with_the_way_out() -> None:
    locked = said("openssl", "ec", "-aes128", "-passout", "pass:long", given=certificates.key_pem(KEY).reveal())
    with pytest.raises(ContentMalformed) as caught:
        certificates.read_key(Secret(locked.encode()))
    assert "passphrase" in caught.value.hint


def test_a_serial_number_of_key_and_time_is_another_for_another_of_them() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    moments = (NOW, NOW + timedelta(seconds=1))
    serials = {certificates.serial_of(key, moment) for key in (KEY, other) for moment in moments}
    assert len(serials) == 4
    assert all(0 < serial < 1 << 127 for serial in serials)
    assert certificates.serial_of(KEY, NOW) in serials


def test_a_serial_number_is_the_same_wherever_the_clock_is_read() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=-7)))
    assert certificates.serial_of(KEY, there) == certificates.serial_of(KEY, NOW)
