"""A publisher with gpg: makes keys, signs, revokes, in a home of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Signer:
    """Keys are named by their primary fingerprint. `close` ends the agent."""

    def __init__(self, home: Path) -> None:
        home.chmod(0o700)
        self._home = home

    def argv(self, *words: str, at: str = "") -> list[str]:
        faked = ["--faked-system-time", f"{at}!"] if at else []
        return ["gpg", "--homedir", str(self._home), "--batch", "--yes", "--quiet", "--passphrase", "",
                "--pinentry-mode", "loopback", "--trust-model", "always", *faked, *words]  # fmt: skip

    def make(self, name: str, *, at: str = "", expires: str = "never") -> str:
        """A new ed25519 key; its fingerprint."""
        self._run("--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign", expires, at=at)
        listed = self._run("--with-colons", "--list-keys", f"{name}@example.org").decode().splitlines()
        return next(line.split(":")[9] for line in listed if line.startswith("fpr"))

    def sign(self, data: bytes, key: str, *options: str, at: str = "") -> bytes:
        """A detached signature."""
        argv = self.argv(*options, "--local-user", key, "--detach-sign", at=at)
        return subprocess.run(argv, input=data, stdout=subprocess.PIPE, check=True, env=self._env()).stdout

    def revoke(self, key: str) -> None:
        certificate = self._home / "openpgp-revocs.d" / f"{key}.rev"
        # gpg guards the certificate with a colon against being imported by accident.
        armed = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
        subprocess.run(self.argv("--import"), input=armed.encode(), check=True, env=self._env())

    def add_subkey(self, key: str) -> None:
        """A subkey that signs; from then on it does."""
        self._run("--quick-add-key", key, "ed25519", "sign", "never")

    def prolong(self, key: str, *, at: str = "") -> None:
        """Let the key not expire."""
        self._run("--quick-set-expire", key, "0", at=at)

    def export(self, *keys: str, armour: bool = False) -> bytes:
        """The keys as a publisher puts them on a server."""
        return self._run(*(["--armor"] if armour else []), "--export", *keys)

    def keyring(self, *keys: str) -> Path:
        """A binary keyring file with these keys, as gpgv reads it."""
        path = self._home / f"ring-{'-'.join(key[-8:] for key in keys)}.gpg"
        path.write_bytes(self.export(*keys))
        return path

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=False)

    def _run(self, *words: str, at: str = "") -> bytes:
        return subprocess.run(self.argv(*words, at=at), stdout=subprocess.PIPE, check=True, env=self._env()).stdout

    def _env(self) -> dict[str, str]:
        return {**os.environ, "LC_ALL": "C.UTF-8"}
