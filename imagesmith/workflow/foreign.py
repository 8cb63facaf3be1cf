"""Secrets that were made elsewhere, put into a vault; and a cluster's authorities laid out as k3s has them.

Called by `cli.vault`. Reads and writes one folder of k3s's files beside the vault, as a person names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagesmith.disk import failures
from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.identity import certificates
from imagesmith.identity.authorities import SERVICE_KEY as SERVICE_FILE
from imagesmith.identity.authorities import Authorities, Authority, Ca, VaultKey, check
from imagesmith.secret import Secret
from imagesmith.vault import authorities, store
from imagesmith.vault.draw import Drawn, belongs, service_key, taken
from imagesmith.vault.files import make_folder, read_closed, write_new
from imagesmith.vault.index import check_name
from imagesmith.vault.names import LEAVES, OLD, ROTATING, SERVICE_KEY, has_authorities, is_authority
from imagesmith.vault.store import Opened
from imagesmith.workflow.rotate import is_brought_by_hand, refuse_second_old

_UPPER_FILES = {authorities.INTERMEDIATE: "intermediate-ca.key", authorities.ROOT: "root-ca.key"}
"""As k3s's own script leaves them beside the others, from the lower to the upper."""


def take(folder: Path, name: str, content: Secret, where: str, *, replace: bool) -> None:
    """Put a secret in that was made elsewhere. Raises UsageError where there is one, ContentMalformed."""
    check_name(name)
    if not content.reveal():
        raise ContentMalformed("it is empty", where=where)
    plain = name
    while plain.endswith(OLD):
        plain = plain.removesuffix(OLD)
    drawn = taken(plain, content, where)
    with store.changing(folder) as change:
        if name in change.index.secrets:
            if not replace:
                raise _there(folder, f"a {name}")
            refuse_second_old(change.index, name, folder)
            change.keep_old(name)
            if is_brought_by_hand(name) and ROTATING + name not in change.index.facts:
                change.remember({ROTATING + name: store.now()})
        change.put(name, drawn)


def take_authorities(folder: Path, tls: Path, *, replace: bool) -> tuple[str, ...]:
    """Put a whole cluster's authorities in, from files as a server has them in its folder `tls`; their names.

    The root's and the intermediate's key come along where they are there and elliptic, as `imagesmith` draws them:
    without them none of the five can be drawn anew here. Raises ContentMalformed, naming the file, and UsageError.
    """
    found = _read(tls)
    made = {LEAVES[ca]: authorities.kept(leaf) for ca, leaf in found.leaves.items()}
    made |= _uppers(tls, found.leaves[Ca.SERVER].bundle)
    service = service_key(found.service_key, str(tls / SERVICE_FILE))
    with store.changing(folder) as change:
        kept = change.index.secrets
        if has_authorities(kept) and not replace:
            raise _there(folder, "a cluster's authorities")
        # Of another cluster, and of no use under these.
        for name in [one for one in kept if is_authority(one) and one not in made]:
            change.keep_old(name)
            change.drop(name)
        authorities.put_all(change, made)
        if SERVICE_KEY in kept:
            change.keep_old(SERVICE_KEY)
        change.put(SERVICE_KEY, service)
        change.remember({ROTATING + SERVICE_KEY: ""})
    return (*made, SERVICE_KEY)


def lay_out(opened: Opened, tls: Path) -> tuple[str, ...]:
    """The five and the service accounts' key as files in a new folder, as k3s has them; what it wrote.

    Raises UsageError where the folder is there already, or the vault lacks one of them.
    """
    secrets = {SERVICE_FILE: opened.open(SERVICE_KEY)} | {f"{ca}.key": opened.open(name) for ca, name in LEAVES.items()}
    if not has_authorities(opened.index.secrets):
        raise UsageError("these are keys without certificates", where=str(opened.folder), hint="imagesmith known-hosts")
    public = {f"{ca}.crt": opened.index.secrets[name].public.encode() for ca, name in LEAVES.items()}
    if tls.exists():
        raise UsageError("it is there already, and is not overwritten", where=str(tls), hint="name a new folder")
    with failures(tls, "making the folder"):
        make_folder(tls)
        make_folder(tls / "etcd")
    for name, content in sorted((public | {name: one.reveal() for name, one in secrets.items()}).items()):
        write_new(tls / name, content)
    return tuple(sorted((*public, *secrets)))


def _read(tls: Path) -> Authorities:
    names = [SERVICE_FILE, *(f"{ca}.{end}" for ca in Ca for end in ("crt", "key"))]
    missing = [name for name in names if not (tls / name).is_file()]
    if missing:
        hint = "take all of /var/lib/rancher/k3s/server/tls; k3s has the ones of etcd even without it"
        raise ContentMalformed(f"these files are missing: {', '.join(missing)}", where=str(tls), hint=hint)
    content = {name: read_closed(tls / name, name) for name in names}
    for name in names:
        if not content[name].isascii():
            raise ContentMalformed("it has more in it than keys and certificates", where=name, hint="take that out")
    leaves = {ca: Authority(content[f"{ca}.crt"], _traditional(content[f"{ca}.key"], f"{ca}.key")) for ca in Ca}
    found = Authorities(leaves, Secret(content[SERVICE_FILE]))
    check(found)
    return found


def _traditional(key: bytes, where: str) -> Secret:
    return certificates.key_pem(certificates.read_key(Secret(key), where))


def _uppers(tls: Path, bundle: bytes) -> Mapping[str, Drawn]:
    """Both keys above the five, or none."""
    chain, made = certificates.read(bundle), dict[str, Drawn]()
    if len(chain) != 1 + len(_UPPER_FILES):
        return {}
    for depth, (name, file) in enumerate(_UPPER_FILES.items(), start=1):
        if not (tls / file).is_file():
            return {}
        key, public = Secret(read_closed(tls / file, file)), certificates.pem(*chain[depth:])
        try:
            upper = VaultKey.read(key, file)
        except ContentMalformed:
            # Of RSA, as k3s's own script makes them: they are kept where they are.
            return {}
        if not belongs(authorities.KIND, key, public.decode(), file):
            raise ContentMalformed("it is not the key of the certificate in the bundles", where=file)
        made[name] = authorities.upper(upper, public)
    return made


def _there(folder: Path, what: str) -> UsageError:
    hint = "--replace puts the new one in its place and keeps the old one beside it"
    return UsageError(f"the vault has {what} already", where=str(folder), hint=hint)
