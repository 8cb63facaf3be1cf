"""Shapes of names, addresses and keys that people write into documents.

Every function takes the text as written and returns it cleaned, or raises ValueError with what is wrong and how to
write it. All of them match the whole text, so a trailing newline never slips through, and refuse anything that a shell,
a path or a YAML document could read as more than a name.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


def host_name(text: str) -> str:
    """One RFC 1123 label in lower case, as Kubernetes wants its nodes named."""
    if not _LABEL.fullmatch(text):
        raise ValueError(
            f"{text[:80]!r} is not a host name; use a-z, 0-9 and - (not first or last), 63 characters at most"
        )
    if text == "localhost":
        raise ValueError("'localhost' is every machine's own name; choose another")
    return text


def domain(text: str) -> str:
    """Labels with dots between them, without one at the end."""
    if len(text) > 189 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError(f"{text[:80]!r} is not a domain; write it like home.arpa")
    return text


def profile_name(text: str) -> str:
    """The name of a profile, board or base: also a file's name, so never a path."""
    return _shaped(text, r"[a-z0-9][a-z0-9-]{0,62}", "a name; use a-z, 0-9 and -, as in rpi4-worker")


def user_name(text: str) -> str:
    _shaped(text, r"[a-z_][a-z0-9_-]{0,31}", "a user name; use a-z, 0-9, - and _, 32 characters at most")
    if text in ("root", "daemon", "bin", "sys", "nobody", "sshd"):
        raise ValueError(f"{text!r} is a system account; choose another user, like admin")
    return text


def interface_address(text: str) -> str:
    """An address with its prefix length, as `192.168.1.10/24`."""
    if "/" not in text:
        raise ValueError(f"{text[:60]!r} lacks the prefix length; write it like 192.168.1.10/24")
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not an address; write it like 192.168.1.10/24") from None
    _refuse_scope(text)
    network = interface.network
    _refuse_special(interface.ip)
    if network.version == 4 and network.prefixlen < 31 and interface.ip in (network[0], network[-1]):
        raise ValueError(f"{interface} is the network {network} itself or its broadcast address, not a host's address")
    return str(interface)


def ip_address(text: str) -> str:
    """A bare address, as `192.168.1.1`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not an address; write it like 192.168.1.1") from None
    _refuse_scope(text)
    _refuse_special(address)
    return str(address)


def host_or_address(text: str) -> str:
    """A server: a name with dots, or an address."""
    try:
        return ip_address(text) if re.fullmatch(r"[0-9.]+|.*:.*", text) else domain(text)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not a server; write a name like pool.ntp.org or an address") from None


def mac(text: str) -> str:
    """A hardware address; lower case with colons comes out."""
    pairs = re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", text)
    if not pairs:
        raise ValueError(f"{text[:60]!r} is not a hardware address; write it like dc:a6:32:01:02:03")
    if int(text[:2], 16) & 1 or not int(re.sub("[:-]", "", text), 16):
        raise ValueError(f"{text} is a group's or an empty hardware address, not one machine's")
    return text.lower().replace("-", ":")


def ssh_public_key(text: str) -> str:
    """One OpenSSH public key line: type, base64, perhaps a comment. Its text is never shown in a complaint."""
    if "PRIVATE KEY" in text:
        raise ValueError("this is a PRIVATE key; give the line of its .pub file, and keep this one to yourself")
    if not text.isprintable():
        raise ValueError("a public key is one line without control characters, as in an id_ed25519.pub file")
    words = text.split(maxsplit=2)
    if len(words) < 2 or words[0] not in _KEY_TYPES:
        known = ", ".join(_KEY_TYPES[:3])
        raise ValueError(f"not a public key line; it starts with {known} or the like, and has no options")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the public key's base64 part is damaged; copy the whole line of the .pub file") from None
    kind = words[0].encode()
    if blob[: 4 + len(kind)] != len(kind).to_bytes(4, "big") + kind or len(blob) < 4 + len(kind) + 32:
        raise ValueError("the public key is damaged or cut off; copy the whole line of the .pub file")
    return " ".join(words)


def time_zone(text: str) -> str:
    part = r"[A-Za-z][A-Za-z0-9_+-]*"
    return _shaped(text, f"{part}(/{part}){{0,2}}", "a time zone, like Europe/Berlin")


def locale(text: str) -> str:
    return _shaped(text, r"(C|[a-z]{2,3}_[A-Z]{2})\.UTF-8(@[a-z]+)?", "a locale, like en_US.UTF-8")


def keyboard(text: str) -> str:
    return _shaped(text, r"[a-z]{2,12}", "a keyboard layout, like us or de")


def https_url(text: str) -> str:
    """An https address without a user, password, space or control character in it."""
    return _shaped(text, r"https://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._~%/+=&?,;:@!$()*-]*", "an https:// address")


def file_name(text: str) -> str:
    return _shaped(text, r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", "a plain file name")


def file_path(text: str) -> str:
    """A path as written; no control character may hide in it."""
    if not text or not text.isprintable():
        raise ValueError("a path can't be empty or hold control characters")
    return text


def secret_path(text: str) -> str:
    """A file with a secret in it, relative to the document that names it. What was written is never shown."""
    if not re.fullmatch(r"[A-Za-z0-9._/-]{1,200}", text) or not re.search(r"[./]", text):
        # Without a dot or a slash it is as likely to be the secret itself.
        raise ValueError("this is not the name of a file, like admin.hash or secrets/wifi.key; the secret goes into it")
    if text.startswith("/"):
        raise ValueError("the path begins with /, which tells others about this machine; write it from this file on")
    return text


def wifi_name(text: str) -> str:
    """A network's name (SSID): 1 to 32 bytes; nothing that can't be seen."""
    if not text.strip() or not text.isprintable() or len(text.encode()) > 32:
        raise ValueError(f"{text[:40]!r} is not the name of a Wi-Fi network: 1 to 32 bytes, nothing invisible")
    return text


def country(text: str) -> str:
    """Two letters of ISO 3166, which decide what a radio may do."""
    if text.upper() == "UK":
        raise ValueError("'UK' is no country code; the United Kingdom's is GB")
    return _shaped(text, "[A-Z]{2}", "a country code; write two capital letters, like DE or US")


def mount_point(text: str) -> str:
    return _shaped(text, r"/|(/[a-z0-9][a-z0-9-]*)+", "a mount point, like /boot/efi")


def package(text: str) -> str:
    return _shaped(text, r"[a-z0-9][a-z0-9+.-]+", "a Debian package's name")


def word(text: str) -> str:
    """A plain lower-case word, like a suite's or component's name."""
    return _shaped(text, r"[a-z][a-z0-9-]{0,40}", "a plain lower-case word")


def title(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 300:
        raise ValueError("write one line of plain text here, 300 characters at most")
    return text.strip()


def kernel_words(text: str) -> str:
    """Words for the kernel's command line, one space between them; root= is the builder's."""
    words = text.split()
    if not all(re.fullmatch(r"[A-Za-z0-9_.,:=/@+-]+", one) for one in words):
        raise ValueError(f"{text[:80]!r} holds more than plain words for the kernel's command line")
    if any(one.startswith("root=") for one in words):
        raise ValueError("root= is added by imagesmith; leave it out")
    return " ".join(words)


def fingerprint(text: str) -> str:
    """A primary key's whole OpenPGP fingerprint, upper case without spaces comes out."""
    return _shaped(text.replace(" ", "").upper(), r"[0-9A-F]{40}", "an OpenPGP fingerprint of 40 hex digits")


def _shaped(text: str, pattern: str, what: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(f"{text[:80]!r} is not {what}")
    return text


def _refuse_scope(text: str) -> None:
    # Python takes anything at all after the % of an IPv6 address.
    if "%" in text:
        raise ValueError(f"{text[:60]!r} names an interface after the %; leave that out")


def _refuse_special(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if address.is_multicast or address.is_loopback or address.is_unspecified or str(address) == "255.255.255.255":
        raise ValueError(f"{address} is not an address that a machine on a network can have")
