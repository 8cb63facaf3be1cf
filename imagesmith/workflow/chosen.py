"""Which image a word on a command line means: an image's file, or the one that was built for a TARGET.

Called by `workflow.boot`, `workflow.source` and `workflow.jobs`. Nothing is ever built here.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path

from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.events import Listener
from imagesmith.workflow.built import Built, CurrentPlanId, find_built, last_built, recorded, refuse_stale, show_age
from imagesmith.workflow.planned import choice_of, remembered_target
from imagesmith.workflow.target import TargetChoice, wanted
from imagesmith.workflow.unpack import Raw, raw_image


def chosen(
    source: str | None, output_dir: Path, current_plan_id: CurrentPlanId, listener: Listener
) -> AbstractContextManager[Raw]:
    """The raw image that `source` means; None means the one built last.

    A path is taken as it is; a TARGET's image is refused when it is stale. Raises UsageError, and as `raw_image` does.
    """
    path, note = image_named(source, output_dir, current_plan_id)
    return raw_image(path, listener, note)


def image_named(source: str | None, output_dir: Path, current_plan_id: CurrentPlanId) -> tuple[Path, str]:
    """The image file that `source` means, as it lies there, and a word on its name and age. Raises UsageError."""
    if source is not None and _is_image(source, output_dir):
        return Path(source), ""
    built = last_built(output_dir) if source is None else built_for(source, output_dir)
    return built.path, name_and_age(built, current_plan_id)


def name_and_age(built: Built, current_plan_id: CurrentPlanId) -> str:
    """A word on a built image for who will use it. Raises UsageError where it is stale."""
    refuse_stale(built, current_plan_id)
    return f"{built.name}, built {show_age(max(0.0, time.time() - built.built_at))}"


def _is_image(source: str, output_dir: Path) -> bool:
    if source.endswith((".yaml", ".yml")):
        return False
    if "/" in source:
        return all(built.target != remembered_target(source) for built in recorded(output_dir))
    # A folder of a TARGET's name is no image; a pipe or device is told as what it is.
    return Path(source).exists() and not Path(source).is_dir()


def built_for(target: str, output_dir: Path) -> Built:
    """What was built for TARGET, whatever files lie here. Raises UsageError."""
    try:
        return find_built(output_dir, remembered_target(target))
    except UsageError:
        # A profile that exactly one node uses means that node, whatever the build was called with.
        built = [one for one in recorded(output_dir) if one.name in _nodes_of(target, one)]
        if len(built) != 1:
            raise
        return find_built(output_dir, built[0].name)


def _nodes_of(target: str, built: Built) -> set[str]:
    """What `target` means with the options of that build, and what it means here."""
    names = set()
    for choice in (choice_of(target, built.options), TargetChoice(target)):
        try:
            names.add(wanted(choice).node.name)
        except ImagesmithError:
            continue  # it means nothing there; that no image was found is what will be told
    return names
