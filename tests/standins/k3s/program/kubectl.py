"""`k3s kubectl`: the few commands that scripts on a node need, against the server of a kubeconfig."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import jsonpath, tables, yamlish
from .client import Caller
from .words import VERSION, Fatal, Refused, place

_KINDS = {"node": "nodes", "no": "nodes", "pod": "pods", "po": "pods", "secret": "secrets", "namespace": "namespaces",
          "ns": "namespaces"}  # fmt: skip
_WITH_VALUE = {"-o", "--output", "-n", "--namespace", "--kubeconfig", "--raw", "--timeout", "--grace-period", "--for",
               "-l", "--selector", "--context", "--request-timeout", "--pod-selector", "-f"}  # fmt: skip
_LONG = {"-o": "--output", "-n": "--namespace", "-l": "--selector", "-A": "--all-namespaces"}


class _Words:
    """A command line taken apart."""

    def __init__(self, arguments: list[str]) -> None:
        self.plain: list[str] = []
        self.options: dict[str, str] = {}
        rest = list(arguments)
        while rest:
            word = rest.pop(0)
            if not word.startswith("-") or word == "-":
                self.plain.append(word)
                continue
            name, equals, value = word.partition("=")
            if word[:2] in ("-o", "-n", "-l") and len(word) > 2 and not word.startswith("--"):
                name, equals, value = word[:2], "=", word[2:].removeprefix("=")
            if not equals and name in _WITH_VALUE and rest:
                value = rest.pop(0)
            self.options[_LONG.get(name, name)] = value


def main(arguments: list[str]) -> int:
    words = _Words(arguments)
    verb = words.plain.pop(0) if words.plain else ""
    command = _COMMANDS.get(verb)
    if command is None:
        return _fail(f"the stand-in's kubectl has no command {verb!r}; it has {', '.join(sorted(_COMMANDS))}")
    try:
        return int(command(_Cluster(words.options.get("--kubeconfig")), words))
    except Refused as error:
        return _fail(_message(error))
    except OSError as error:
        return _fail(f"The connection to the server was refused - did you specify the right host or port? ({error})")
    except Fatal as error:
        return _fail(str(error))


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 1


def _message(error: Refused) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        status = json.loads(error.body)
        if status["code"] == 401:
            return "error: You must be logged in to the server (Unauthorized)"
        return f"Error from server ({status['reason']}): {status['message']}"
    return f"Error from server: {error.body.strip() or error}"


class _Cluster:
    """The server of a kubeconfig, and how to ask it."""

    def __init__(self, given: str | None) -> None:
        path = Path(given or os.environ.get("KUBECONFIG") or place("/etc/rancher/k3s/k3s.yaml"))
        try:
            read = yamlish.mapping(path.read_text(), str(path))
        except OSError as error:
            raise Fatal(f'error: error loading config file "{path}": {error.strerror}') from error
        cluster, user = read["clusters"][0]["cluster"], read["users"][0]["user"]
        with tempfile.TemporaryDirectory() as folder:  # private to this user; ssl takes its own pair from files only
            pair = Path(folder, "crt"), Path(folder, "key")
            for path, key in zip(pair, ("client-certificate-data", "client-key-data"), strict=True):
                path.write_bytes(base64.b64decode(user[key]))
            bundle = base64.b64decode(cluster["certificate-authority-data"]).decode()
            self.caller = Caller(bundle, pair=pair)
        self.url = str(cluster["server"])

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> str:
        return self.caller.ask(self.url, path, method, body, 30, **headers)

    def get(self, path: str) -> Any:
        return json.loads(self.ask(path))

    def patch(self, name: str, patch: Any) -> None:
        kind = "application/merge-patch+json"
        self.ask(f"/api/v1/nodes/{quote(name)}", "PATCH", patch, Content_Type=kind)


def _target(words: _Words) -> tuple[str, list[str]]:
    """Plural and names, from `node one`, `node/one` or `nodes`."""
    if not words.plain:
        raise Fatal("error: You must specify the type of resource")
    kind, slash, name = words.plain[0].partition("/")
    names = [name, *(word.rpartition("/")[2] for word in words.plain[1:])] if slash else words.plain[1:]
    return _KINDS.get(kind, kind), names


def _path(plural: str, words: _Words) -> str:
    spaced = plural not in ("nodes", "namespaces")
    if spaced and "--all-namespaces" not in words.options:
        return f"/api/v1/namespaces/{quote(words.options.get('--namespace', 'default'))}/{plural}"
    return f"/api/v1/{plural}"


def _get(cluster: _Cluster, words: _Words) -> int:
    if "--raw" in words.options:
        sys.stdout.write(cluster.ask(words.options["--raw"]))
        return 0
    plural, names = _target(words)
    path, form = _path(plural, words), words.options.get("--output", "")
    selector = f"?labelSelector={quote(words.options['--selector'])}" if "--selector" in words.options else ""
    items = [cluster.get(f"{path}/{quote(n)}") for n in names] if names else cluster.get(path + selector)["items"]
    shown = items[0] if len(names) == 1 else {"apiVersion": "v1", "kind": "List", "items": items}
    if form == "json":
        sys.stdout.write(json.dumps(shown, indent=4) + "\n")
    elif form == "name":
        sys.stdout.write("".join(f"{plural.removesuffix('s')}/{item['metadata']['name']}\n" for item in items))
    elif form.startswith("jsonpath="):
        sys.stdout.write(jsonpath.rendered(form.partition("=")[2], shown))
    elif form not in ("", "wide"):
        raise Fatal(f"error: the stand-in's kubectl has no output format {form!r}")
    elif not items:
        sys.stderr.write("No resources found\n")
    else:
        _print_table(tables.table(plural, items, False, ""), form == "wide", "--no-headers" in words.options)
    return 0


def _print_table(table: Any, wide: bool, bare: bool) -> None:
    shown = [at for at, column in enumerate(table["columnDefinitions"]) if wide or not column["priority"]]
    rows = [] if bare else [[table["columnDefinitions"][at]["name"].upper() for at in shown]]
    rows += [[row["cells"][at] for at in shown] for row in table["rows"]]
    widths = [max(len(row[at]) for row in rows) for at in range(len(shown))]
    for row in rows:
        sys.stdout.write("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _delete(cluster: _Cluster, words: _Words) -> int:
    plural, names = _target(words)
    for name in names:
        try:
            cluster.ask(f"{_path(plural, words)}/{quote(name)}", "DELETE")
        except Refused as error:
            if error.code == 404 and words.options.get("--ignore-not-found", "false") in ("", "true"):
                continue
            raise
        sys.stdout.write(f'{plural.removesuffix("s")} "{name}" deleted\n')
    return 0


def _cordon(cluster: _Cluster, words: _Words) -> int:
    for name in words.plain:
        cluster.patch(name.rpartition("/")[2], {"spec": {"unschedulable": True}})
        sys.stdout.write(f"node/{name} cordoned\n")
    return 0


def _uncordon(cluster: _Cluster, words: _Words) -> int:
    for name in words.plain:
        cluster.patch(name.rpartition("/")[2], {"spec": {"unschedulable": None}})
        sys.stdout.write(f"node/{name} uncordoned\n")
    return 0


def _drain(cluster: _Cluster, words: _Words) -> int:
    _cordon(cluster, words)
    sys.stdout.write("".join(f"node/{name} drained\n" for name in words.plain))
    return 0


def _mark(kind: str) -> Any:
    """`label` and `annotate`: key=value sets, key- takes away."""

    def command(cluster: _Cluster, words: _Words) -> int:
        _, names = _target(words)
        changes = [name for name in names if "=" in name or name.endswith("-")]
        values: dict[str, Any] = {}
        for change in changes:
            key, equals, value = change.partition("=")
            values[key if equals else change[:-1]] = value if equals else None
        for name in names[: len(names) - len(changes)]:
            known = cluster.get(f"/api/v1/nodes/{quote(name)}")["metadata"].get(kind, {})
            clash = [k for k, v in values.items() if v is not None and known.get(k, v) != v]
            if clash and "--overwrite" not in words.options:
                raise Fatal(f"error: '{clash[0]}' already has a value ({known[clash[0]]}), and --overwrite is false")
            cluster.patch(name, {"metadata": {kind: values}})
            sys.stdout.write(f"node/{name} {'labeled' if kind == 'labels' else 'annotated'}\n")
        return 0

    return command


def _wait(cluster: _Cluster, words: _Words) -> int:
    """For nodes to be Ready, or gone."""
    _, names = _target(words)
    wanted = words.options.get("--for", "").lower()
    until = time.monotonic() + float(words.options.get("--timeout", "30s").removesuffix("s"))
    while True:
        nodes = {node["metadata"]["name"]: node for node in cluster.get("/api/v1/nodes")["items"]}
        asked = names or list(nodes)
        if wanted == "delete":
            done = not set(asked) & set(nodes)
        elif wanted in ("condition=ready", "condition=ready=true"):
            done = bool(asked) and all(
                n in nodes and tables.status_of(nodes[n]).split(",")[0] == "Ready" for n in asked
            )
        else:
            raise Fatal(f"error: the stand-in's kubectl can not wait for {wanted!r}")
        if done:
            sys.stdout.write("".join(f"node/{name} condition met\n" for name in asked))
            return 0
        if time.monotonic() > until:
            raise Fatal(f"error: timed out waiting for the condition on nodes/{', nodes/'.join(asked)}")
        time.sleep(0.5)


def _version(cluster: _Cluster, words: _Words) -> int:
    sys.stdout.write(f"Client Version: {VERSION}\nServer Version: {cluster.get('/version')['gitVersion']}\n")
    return 0


_COMMANDS = {"get": _get, "delete": _delete, "cordon": _cordon, "uncordon": _uncordon,
             "drain": _drain, "label": _mark("labels"), "annotate": _mark("annotations"),
             "wait": _wait, "version": _version}  # fmt: skip
