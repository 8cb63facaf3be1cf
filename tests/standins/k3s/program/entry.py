"""The stand-in's command line: `k3s server|agent|kubectl|...`, or kubectl, crictl and ctr by a link's name."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from .words import VERSION, Fatal, notify, say


def main(argv: list[str]) -> int:
    called, arguments = Path(argv[0]).name, argv[1:]
    command = called if called in ("kubectl", "crictl", "ctr") else (arguments.pop(0) if arguments else "help")
    try:
        return _run(command, arguments)
    except Fatal as error:
        say(str(error), "fatal")
        return 1


def _run(command: str, arguments: list[str]) -> int:
    if command in ("--version", "-v"):
        sys.stdout.write(f"k3s version {VERSION} (stand-in)\n")
    elif command in ("crictl", "ctr"):
        sys.stdout.write(f"stand-in k3s: {command} has no containers\n")
    elif command == "check-config":
        sys.stdout.write("STATUS: pass (stand-in)\n")
    elif command == "kubectl":
        from . import kubectl

        return kubectl.main(arguments)
    elif command in ("etcd-snapshot", "secrets-encrypt", "token", "certificate"):
        from . import upkeep

        return int(getattr(upkeep, command.replace("-", "_"))(arguments))
    elif command in ("server", "agent"):
        _serve(command, arguments)
    else:
        raise Fatal(f"no command {command!r}; there are server, agent, kubectl, crictl, ctr, check-config, "
                    "etcd-snapshot, secrets-encrypt, token and certificate")  # fmt: skip
    return 0


def _serve(command: str, arguments: list[str]) -> None:
    """Until a signal; the work is done aside, so that a signal is obeyed whatever is being waited for."""
    from . import config, words

    if not words.ROOT and os.geteuid() != 0:
        raise Fatal(f"must run as root: k3s {command}")
    say(f"Starting k3s {command} {VERSION}")
    settings = config.load(command, arguments)
    stop = threading.Event()
    failed: list[Fatal] = []

    def work() -> None:
        try:
            run(stop)
        except Fatal as error:
            failed.append(error)
        except BaseException as error:  # a fault of the stand-in must not look like a cluster that waits
            failed.append(Fatal(f"a fault of the stand-in: {error!r}"))
            raise
        finally:
            stop.set()

    run = _server(settings) if command == "server" else _agent(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    stop.wait()
    notify("STOPPING=1")
    thread.join(1.5)
    if failed:
        raise failed[0]
    say("stopped")


def _server(settings: object) -> Callable[[threading.Event], None]:
    from .server import Server

    return Server(settings).run  # type: ignore[arg-type]


def _agent(settings: object) -> Callable[[threading.Event], None]:
    from .agent import Agent, check_kubelet
    from .config import Settings

    assert isinstance(settings, Settings)
    if not settings.text("server"):
        raise Fatal("--server is required")
    agent = Agent(settings, settings.secret("token"), [settings.text("server").rstrip("/")], local=False)
    check_kubelet(agent.places, settings.text("flannel-iface"))
    if not settings.secret("token") and not (agent.places.agent / "client-kubelet.crt").exists():
        raise Fatal("--token is required")
    return agent.run
