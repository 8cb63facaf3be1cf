"""k3s's smaller commands on a server: snapshots, secrets encryption, tokens, certificates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import certs, config, snapshots
from .agent import node_name
from .client import Caller, unverified
from .words import Fatal, Places, Refused, say


def _options(arguments: list[str], **defaults: str) -> tuple[list[str], dict[str, str]]:
    """Plain words and options; an option that is not among the defaults is an error, one without a value is `true`."""
    plain, found, rest = [], dict(defaults), list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            plain.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = {"t": "token", "s": "server", "d": "data-dir"}.get(name, name).replace("-", "_")
        if name not in defaults:
            raise Fatal(f"flag provided but not defined: {word}")
        if not equals:
            value = "true" if defaults[name] == "false" or not rest else rest.pop(0)
        found[name] = value
    return plain, found


class _Here:
    """The server that runs on this machine."""

    def __init__(self, data_dir: str) -> None:
        self.settings = config.load("server", [])
        self.places = Places(data_dir or self.settings.text("data-dir"))
        bind = self.settings.text("bind-address")
        host = bind if bind and bind != "0.0.0.0" else "127.0.0.1"
        self.url = f"https://{host}:{self.settings.text('https-listen-port', '6443')}"

    def check_serves(self) -> None:
        try:
            unverified().ask(self.url, "/ping")
        except (OSError, Refused) as error:
            raise Fatal(f"the server does not answer at {self.url}: {error}") from error

    def post(self, path: str, body: Any) -> None:
        tls = self.places.tls
        pair = tls / "client-admin.crt", tls / "client-admin.key"
        try:
            Caller((tls / "server-ca.crt").read_text(), pair=pair).ask(self.url, path, "POST", body)
        except Refused as error:
            raise Fatal(f"{error}: {error.body.strip()}") from error
        except OSError as error:
            raise Fatal(f"the server does not answer at {self.url}: {error}") from error


def etcd_snapshot(arguments: list[str]) -> int:
    plain, options = _options(arguments, name="on-demand", data_dir="", dir="", etcd_snapshot_dir="",
                              etcd_snapshot_compress="false", snapshot_compress="false")  # fmt: skip
    here = _Here(options["data_dir"])
    folder = options["dir"] or options["etcd_snapshot_dir"] or here.settings.text("etcd-snapshot-dir")
    if plain[:1] == ["save"]:
        here.check_serves()
        snapshots.save(here.places, options["name"], node_name(here.settings), folder)
    elif plain[:1] in (["ls"], ["list"]):
        for path in sorted((Path(folder) if folder else here.places.db / "snapshots").glob("*")):
            sys.stdout.write(f"{path.name}  file://{path}  {path.stat().st_size}  (stand-in)\n")
    else:
        raise Fatal(f"the stand-in has no etcd-snapshot {' '.join(plain)}")
    return 0


def secrets_encrypt(arguments: list[str]) -> int:
    plain, options = _options(arguments, data_dir="", server="", token="", output="text")
    if plain != ["status"]:
        raise Fatal(f"the stand-in has no secrets-encrypt {' '.join(plain)}")
    here = _Here(options["data_dir"])
    on = (here.places.server / "cred" / "encryption-config.json").exists()
    lines = [f"Encryption Status: {'Enabled' if on else 'Disabled, no configuration file found'}"]
    if on:
        lines += ["Current Rotation Stage: start", "Server Encryption Hashes: All hashes match", ""]
        lines += ["Active  Key Type  Name", "------  --------  ----", " *      AES-CBC   aescbckey (stand-in)"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def token(arguments: list[str]) -> int:
    plain, options = _options(arguments, token="", new_token="", data_dir="", server="")
    if plain != ["rotate"]:
        raise Fatal(f"the stand-in has no token {' '.join(plain)}")
    here = _Here(options["data_dir"])
    old = options["token"] or (here.places.server / "token").read_text().strip()
    here.post("/stand-in/token", {"old": old, "new": options["new_token"] or os.urandom(16).hex()})
    say("Token rotated, restart k3s nodes with new token")
    return 0


def certificate(arguments: list[str]) -> int:
    plain, options = _options(arguments, data_dir="", path="", force="false", service="", output="", server="")
    here = _Here(options["data_dir"])
    tls = here.places.tls
    if plain == ["check"]:
        for path in sorted([*tls.glob("*.crt"), *(here.places.agent).glob("*.crt")]):
            done = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", str(path)],
                                  capture_output=True, text=True, check=False)  # fmt: skip
            sys.stdout.write(f"{path}: {done.stdout.strip().replace('notAfter=', 'valid until ')} (stand-in)\n")
        return 0
    if plain == ["rotate"]:
        for path in [*tls.rglob("*.made-for")]:
            path.unlink()
        say("Successfully backed up certificates, please restart k3s server or agent to rotate certificates")
        return 0
    if plain == ["rotate-ca"]:
        folder = Path(options["path"])
        folder = folder / "tls" if (folder / "tls").is_dir() else folder
        files = {name: (folder / name).read_text() for name in certs.BOOTSTRAP if (folder / name).exists()}
        halves = [n for n in certs.AUTHORITIES if (f"{n}.crt" in files) != (f"{n}.key" in files)]
        if not files or halves:
            raise Fatal(f"{folder}: certificate and key do not come together: {', '.join(halves) or 'no files at all'}")
        here.post("/stand-in/authorities", {"files": files, "force": options["force"] == "true"})
        say("certificates saved to datastore")
        return 0
    raise Fatal(f"the stand-in has no certificate {json.dumps(plain)}")
