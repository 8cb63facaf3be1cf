"""Steps of `planning.life`, done one after the other on nodes that run.

Called by the workflows that change a cluster, once their steps were shown and agreed upon. Stops at the first that
fails.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from imagesmith.errors import ImagesmithError, Interrupted, NodeUnreachable
from imagesmith.events import Listener, Noted, StepFinished, StepStarted, unheard
from imagesmith.planning.life import CONFIG, ByHand, Change, Put, Run, Step, shown
from imagesmith.planning.rotating import with_password
from imagesmith.remote.session import USUAL_S, Session
from imagesmith.secret import Secret

Agree = Callable[[Sequence[str]], bool]
"""Shows lines and says whether to go on."""
Sent = Mapping[str, Secret | bytes | Path]
"""What steps send, by the name that they have for it."""
_PAUSE_S = 2.0


def agreed(steps: Sequence[Step], agree: Agree) -> None:
    """Show all steps. Raises Interrupted where they are not agreed upon."""
    if not agree([f"{number}. {shown(step)}" for number, step in enumerate(steps, 1)]):
        raise Interrupted("not confirmed, nothing was changed")


def do(
    nodes: Session, steps: Sequence[Step], sent: Sent | None = None, listener: Listener = unheard,
    *, pause_s: float = _PAUSE_S,
) -> tuple[str, ...]:  # fmt: skip
    """All steps in their order; what is left to a person. Raises NodeUnreachable at the first that fails."""
    left = []
    for step in steps:
        if isinstance(step, ByHand):
            left.append(step.doing)
            listener(Noted(shown(step)))
            continue
        listener(StepStarted(step.doing, "", step.node))
        try:
            _do(nodes, step, sent or {}, pause_s)
        except ImagesmithError as error:
            error.hint = step.hint or error.hint
            raise error.within(f"while it was to {step.doing}") from None
        listener(StepFinished(step.doing, "", step.node))
    return tuple(left)


def _do(nodes: Session, step: Run | Change | Put, sent: Sent, pause_s: float) -> None:
    if isinstance(step, Change):
        _change(nodes, step, sent)
    elif isinstance(step, Put):
        content = sent[step.sends]
        assert not isinstance(content, Path)
        nodes.put(step.node, step.path, content, step.mode)
    elif step.until:
        _await(nodes, step, pause_s)
    elif step.sends:
        _send(nodes, step, sent[step.sends])
    else:
        told = nodes.run(step.node, step.argv, limit_s=step.limit_s, doing=step.doing).text.strip()
        if step.says and not re.fullmatch(step.says, told):
            raise NodeUnreachable(f"{step.doing}: it is not what it should be, but {told[:100]!r}", where=step.node)


def _send(nodes: Session, step: Run, content: Secret | bytes | Path) -> None:
    if isinstance(content, Path):
        with content.open("rb") as stream:
            nodes.run(step.node, step.argv, stdin=stream, limit_s=step.limit_s, doing=step.doing)
        return
    data = content.reveal() if isinstance(content, Secret) else content
    nodes.run(step.node, step.argv, stdin=data, limit_s=step.limit_s, doing=step.doing)


def _change(nodes: Session, step: Change, sent: Sent) -> None:
    password = sent[step.sends]
    assert isinstance(password, Secret)
    before = nodes.read(step.node, CONFIG).reveal()
    after = with_password(before, step.key, password.reveal(), f"{step.node}:{CONFIG}")
    if after != before:
        nodes.put(step.node, CONFIG, Secret(after), 0o600)


def _await(nodes: Session, step: Run, pause_s: float) -> None:
    """Ask again until the answer is right; a node that restarts may be silent, or tell of errors, in between."""
    until = time.monotonic() + step.limit_s
    last = "nothing was told"
    while True:
        try:
            limit_s = max(1.0, min(USUAL_S, until - time.monotonic()))
            told = nodes.run(step.node, step.argv, limit_s=limit_s, doing=step.doing).text.strip()
            if re.fullmatch(step.until, told):
                return
            last = f"it said {told[:80]!r}" if told else "it said nothing"
        except NodeUnreachable as error:
            last = error.what
        if time.monotonic() + pause_s > until:
            raise NodeUnreachable(
                f"it did not come about in {step.limit_s} s: {step.doing}; last {last}", where=step.node
            )
        time.sleep(pause_s)
