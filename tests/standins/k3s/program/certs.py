"""Certificates, by the `openssl` program: authorities where none were given, and leaves signed by them.

Every call costs a guest on an emulated processor a good part of a second, so a leaf is kept and made again only when
what it says, or who signs it, has changed.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from .words import Fatal, say, write

AUTHORITIES = ("server-ca", "client-ca", "request-header-ca", "etcd/peer-ca", "etcd/server-ca")
SERVICE_KEY = "service.key"
BOOTSTRAP = (*(f"{name}.{end}" for name in AUTHORITIES for end in ("crt", "key")), SERVICE_KEY)
"""The files that servers of one cluster share, below server/tls."""
_RENEW_S = 245 * 24 * 3600
"""Leaves live a year and are made anew when fewer than 120 days of it remain."""


def own_authorities(tls: Path) -> None:
    """Make what was not given; take what was, when certificate and key are both there."""
    made = []
    for name in AUTHORITIES:
        crt, key = tls / f"{name}.crt", tls / f"{name}.key"
        if not (crt.exists() and key.exists()):
            _run(_authority(tls, name), f"[q]\n[d]\n[e]\n{_CA_EXTENSIONS}")
            made.append(name)
    if not (tls / SERVICE_KEY).exists():
        _run(["genrsa", "-traditional", "-out", str(tls / SERVICE_KEY), "2048"])
        made.append(SERVICE_KEY)
    say(f"certificate authorities: {', '.join(made) + ' made here' if made else 'all found in ' + str(tls)}")


def check_authorities(tls: Path) -> None:
    """A key that is not its certificate's, or a service key that is none, would only show much later."""
    for name in AUTHORITIES:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls / f"{name}.crt", tls / f"{name}.key")
        except (OSError, ssl.SSLError) as error:
            raise Fatal(f"{tls / name}.crt and .key do not belong together: {error}") from error
        (tls / f"{name}.key").chmod(0o600)
    head = (tls / SERVICE_KEY).read_text().strip().splitlines()[:1]
    if head not in ([f"-----BEGIN {kind}PRIVATE KEY-----"] for kind in ("RSA ", "EC ", "")):
        raise Fatal(f"{tls / SERVICE_KEY}: no private key in PEM")


def leaf(tls: Path, authority: str, out: Path, subject: str, usage: str, names: list[str]) -> tuple[str, str]:
    """Certificate with the authority's chain after it, and key: `out`.crt and `out`.key, made when needed.

    `subject` is in openssl's form, /O=system:nodes/CN=system:node:one.
    """
    chain = (tls / f"{authority}.crt").read_text()
    crt, key, made_for = (out.with_name(out.name + end) for end in (".crt", ".key", ".made-for"))
    wanted = hashlib.sha256("\n".join([chain, subject, usage, *names]).encode()).hexdigest()
    fresh = crt.exists() and key.exists() and abs(time.time() - crt.stat().st_mtime) < _RENEW_S
    if not (fresh and made_for.exists() and made_for.read_text() == wanted):
        certificate, private = _signed(tls, authority, subject, usage, names)
        write(key, private)
        write(crt, certificate.rstrip() + "\n" + chain, 0o644)
        write(made_for, wanted)
    return crt.read_text(), key.read_text()


def _signed(tls: Path, authority: str, subject: str, usage: str, names: list[str]) -> tuple[str, str]:
    extensions = f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n{_KEY_IDS}"
    extensions += f"extendedKeyUsage={usage}\n"
    if names:
        extensions += f"subjectAltName={','.join(names)}\n"
    signer = tls / f"{authority}.crt"
    with tempfile.TemporaryDirectory() as folder:
        request, crt, key = (Path(folder, name) for name in ("request", "crt", "key"))
        asked = ["req", "-new", *_new_key(key), "-config", "/dev/stdin", "-subj", subject, "-sha256"]
        _run([*asked, "-out", str(request)], "[q]\n[d]\n")
        # As k3s has it: a leaf is good from the day on that its authority is, whatever the clocks say.
        begin = _run(["x509", "-noout", "-startdate", "-dateopt", "iso_8601", "-in", str(signer)]).partition("=")[2]
        wanted = ["-startdate", re.sub("[^0-9Z]", "", begin), "-days", "365", "-in", str(request), "-out", str(crt)]
        signing = ["ca", "-batch", "-notext", "-preserveDN", "-config", "/dev/stdin", "-extensions", "e", *wanted]
        Path(folder, "index").touch()
        by = ["-cert", str(signer), "-keyfile", str(tls / f"{authority}.key")]
        _run([*signing, *by], _REGISTER.format(folder=folder) + f"[e]\n{extensions}")
        return crt.read_text(), key.read_text()


_REGISTER = """\
[ca]
default_ca=c
[c]
database={folder}/index
new_certs_dir={folder}
rand_serial=yes
default_md=sha256
policy=p
[p]
commonName=optional
organizationName=optional
"""

_KEY_IDS = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
_CA_EXTENSIONS = (
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature,keyEncipherment,keyCertSign\n" + _KEY_IDS
)


def _authority(tls: Path, name: str) -> list[str]:
    crt, key = tls / f"{name}.crt", tls / f"{name}.key"
    crt.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    subject = f"/CN=k3s-{name.replace('/', '-')}@{int(time.time())}"
    settings = ["-config", "/dev/stdin", "-extensions", "e", "-subj", subject, "-days", "3650", "-sha256"]
    return ["req", "-x509", "-new", *_new_key(key), "-out", str(crt), *settings]


def _new_key(to: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(to)]


def _run(arguments: list[str], given: str = "") -> str:
    # openssl wants to find its names section, even an empty one, since the subject comes from the command line.
    config = given.replace("[q]\n", "[req]\nprompt=no\ndistinguished_name=d\n")
    done = subprocess.run(["openssl", *arguments], input=config, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fatal(f"openssl {arguments[0]} failed: {' '.join(done.stderr.split())[-300:]}")
    return done.stdout
