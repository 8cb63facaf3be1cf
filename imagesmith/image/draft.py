"""What one volume will hold once its edits are done: edits go in, in order, nodes by true path come out.

Called by `image.apply`. Reads the tree it is given and writes nothing. Links in the parents of a path are followed
here, inside the image, so that no tool has to and none can be led out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from imagesmith.errors import EditFailed
from imagesmith.formats.credentials import OpenSecret, revealed
from imagesmith.image.accounts import with_locked
from imagesmith.image.keys import with_key, with_word, without_key
from imagesmith.image.text import with_line, with_token
from imagesmith.image.tree import Entry, File, Folder, Gone, Node, Symlink, Tree, parent, split
from imagesmith.model import (
    BootWords,
    Edit,
    EnsureLine,
    EnsureToken,
    EnsureWord,
    Link,
    LockAccount,
    MakeDir,
    PutFile,
    Remove,
    RemoveKey,
    SetKey,
)
from imagesmith.secret import Secret, SecretRef, SecretText

_MAX_LINKS = 40
_OTHERS = 0o007
"""The permission bits of everybody else."""


class Draft:
    """The changes of one volume, in the order in which they can be made (parents first)."""

    def __init__(self, tree: Tree, open_secret: OpenSecret) -> None:
        self._tree = tree
        self._open_secret = open_secret
        self._nodes: dict[str, tuple[str, Node]] = {}
        self.modes: list[int | None] = []
        """The permission bits that each edit leaves, in the order of the edits."""

    @property
    def nodes(self) -> dict[str, Node]:
        """Every path that changes, as the image spells it, with what will be there."""
        return dict(self._nodes.values())

    def add_all(self, edits: Iterable[Edit]) -> None:
        """Take the edits in their order. Raises EditFailed naming the path and what stands in the way."""
        edits = list(edits)
        self._tree.look_ahead({prefix for edit in edits for prefix in self._prefixes(edit.path)})
        for edit in edits:
            self._add(edit)
            self.modes.append(self._mode_after(edit))

    def _mode_after(self, edit: Edit) -> int | None:
        """What `stat` would tell of the edit's path, of a link `lstat`; None where nothing is, or no modes are kept."""
        if self._tree.is_fat or isinstance(edit, Remove):
            return None
        entry = self._look(self._place(edit.path, follow=not isinstance(edit, Link)))
        return entry.mode if entry else None

    def _add(self, edit: Edit) -> None:
        match edit:
            case PutFile():
                self._put(edit)
            case EnsureLine():
                self._rewrite(edit.path, lambda old: with_line(old or b"", edit.line))
            case EnsureToken():
                self._rewrite(edit.path, lambda old: with_token(old, edit.token))
            case SetKey():
                self._rewrite(edit.path, lambda old: with_key(old, edit.key, edit.value))
            case RemoveKey():
                self._rewrite(edit.path, lambda old: without_key(old, edit.key))
            case EnsureWord():
                self._rewrite(edit.path, lambda old: with_word(old, edit.key, edit.word))
            case LockAccount():
                self._rewrite(edit.path, lambda old: with_locked(old, edit.account))
            case MakeDir():
                at = self._place(edit.path, follow=True)
                entry = self._look(at)
                if entry and entry.kind != "folder":
                    raise self._refusal(edit.path, f"is a {entry.kind}, so no directory can be made there")
                self._set(at, Folder(edit.mode, edit.uid, edit.gid))
            case Link():
                self._link(edit)
            case BootWords():
                raise self._refusal(edit.path, "is to get words of an installer's menu, and this is no installer")
            case Remove():
                self._remove(edit.path)

    def _put(self, edit: PutFile) -> None:
        given = edit.content
        content = self._opened(edit, given) if isinstance(given, SecretRef | SecretText) else given
        at = self._place(edit.path)
        self._refuse_folder(edit.path, at)
        self._set(at, File(content, edit.mode, edit.uid, edit.gid))

    def _opened(self, edit: PutFile, content: SecretRef | SecretText) -> Secret:
        """The one way in for secrets: nowhere but into files that their owner's system keeps from others."""
        if self._tree.is_fat:
            raise self._refusal(
                edit.path, "holds a secret, and everyone who finds the card can read FAT", "put it on the root"
            )
        if edit.mode & _OTHERS:
            raise self._refusal(edit.path, f"holds a secret, and mode {edit.mode:04o} lets everybody at it", "use 0600")
        try:
            return revealed(content, self._open_secret)
        except ValueError as error:
            raise self._refusal(edit.path, f"can't be put together: of a secret for it, {error}") from error

    def _link(self, edit: Link) -> None:
        if self._tree.is_fat:
            raise self._refusal(edit.path, "should be a link, and FAT has none")
        if not edit.target or any(ord(letter) < 32 or ord(letter) == 127 for letter in edit.target):
            raise self._refusal(edit.path, f"should link to {edit.target!r}, which is no plain path")
        at = self._place(edit.path)
        self._refuse_folder(edit.path, at)
        self._set(at, Symlink(edit.target))

    def _remove(self, path: str) -> None:
        at = self._place(path)
        self._refuse_folder(path, at)
        if self._look(at):
            self._nodes[self._key(at)] = (self._spelled(at), Gone())

    def _rewrite(self, path: str, change: Callable[[bytes | None], bytes]) -> None:
        """Change a file's text; mode and owner stay. What is a link is changed where it points to."""
        at = self._place(path, follow=True)
        entry = self._look(at)
        if entry and entry.kind != "file":
            raise self._refusal(path, f"is a {entry.kind}, not a text file")
        try:
            new = change(self._content(at) if entry else None)
        except ValueError as error:
            raise self._refusal(path, str(error)) from error
        mode, uid, gid = (entry.mode, entry.uid, entry.gid) if entry else (0o644, 0, 0)
        self._set(at, File(new, mode, uid, gid))

    def _content(self, at: str) -> bytes:
        pending = self._nodes.get(self._key(at))
        if not pending:
            return self._tree.read(at)
        node = pending[1]
        if isinstance(node, File) and isinstance(node.content, bytes):
            return node.content
        raise self._refusal(at, "is put by this plan from a file or a secret, so it can't be changed line by line")

    def _set(self, at: str, node: Node) -> None:
        """Plan a node, and before it the directories it needs."""
        missing = []
        above = parent(at)
        while above != "/" and not self._look(above):
            missing.append(above)
            above = parent(above)
        for folder in reversed(missing):
            self._nodes[self._key(folder)] = (self._spelled(folder), Folder())
        # A later edit of the same path takes the earlier one's place in the order, behind its parents.
        self._nodes[self._key(at)] = (self._spelled(at), node)

    def _place(self, path: str, *, follow: bool = False) -> str:
        """Where `path` truly is, its parents' links followed; the last component's too with `follow`."""
        ahead = list(reversed(split(path, self._tree.where)))
        here, links = "/", 0
        while ahead:
            name = ahead.pop()
            if name == "..":
                if here == "/":
                    raise self._refusal(path, "goes through a link that leaves the file system")
                here = parent(here)
                continue
            there = f"{here.rstrip('/')}/{name}"
            entry = self._look(there)
            if entry and entry.kind == "link" and (ahead or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise self._refusal(path, f"goes through more than {_MAX_LINKS} links; they go round in circles")
                here = "/" if entry.target.startswith("/") else here
                ahead.extend(part for part in reversed(entry.target.split("/")) if part not in ("", "."))
                continue
            if entry and entry.kind != "folder" and ahead:
                raise self._refusal(path, f"can't be reached: {there} is a {entry.kind}, not a directory")
            here = there
        return here

    def _look(self, at: str) -> Entry | None:
        if at == "/":
            return Entry("/", "folder", 0o755)
        pending = self._nodes.get(self._key(at))
        if not pending:
            return self._tree.look(at)
        path, node = pending
        match node:
            case File():
                return Entry(path, "file", node.mode, node.uid, node.gid)
            case Folder():
                return Entry(path, "folder", node.mode, node.uid, node.gid)
            case Symlink():
                return Entry(path, "link", 0o777, target=node.target)
            case Gone():
                return None

    def _refuse_folder(self, path: str, at: str) -> None:
        entry = self._look(at)
        if entry and entry.kind not in ("file", "link"):
            raise self._refusal(path, f"is a {entry.kind}, which is neither replaced nor removed")

    def _key(self, at: str) -> str:
        return at.casefold() if self._tree.is_fat else at

    def _spelled(self, at: str) -> str:
        entry = self._look(at) or self._tree.look(at)
        if entry:
            return entry.path
        above = parent(at)
        return at if above == "/" else f"{self._spelled(above)}/{at.rsplit('/', 1)[1]}"

    def _prefixes(self, path: str) -> list[str]:
        parts = split(path, self._tree.where)
        return ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]

    def _refusal(self, path: str, what: str, hint: str = "") -> EditFailed:
        return EditFailed(f"{path} {what}", where=self._tree.where, hint=hint)
