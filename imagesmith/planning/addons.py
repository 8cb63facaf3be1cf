"""The catalogue of add-ons in words, and the images that they need. Called by `cli.addons`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagesmith.cluster.addons.parts import password_name
from imagesmith.model import Architecture
from imagesmith.model.addons import Addon, Addons, Recipe, RecipePart
from imagesmith.units import show_size


def images(recipes: Mapping[str, Recipe], addons: Addons | None, architecture: Architecture | None) -> tuple[str, ...]:
    """The images of what an inventory wants, each once; without an inventory those of the whole catalogue.

    With an architecture those that run on it alone. What charts and own manifests name is not known here.
    """
    wanted = [addon.recipe for addon in addons.wanted] if addons else list(recipes.values())
    if addons and addons.provisioner:
        wanted.append(addons.provisioner)
    parts = (part for recipe in wanted for part in recipe.parts)
    fitting = (part for part in parts if architecture is None or architecture in part.architectures)
    return tuple(dict.fromkeys(part.reference for part in fitting))


def described(recipe: Recipe, addon: Addon | None) -> list[str]:
    """All about one add-on: what runs, what it takes, what it keeps and where, and what is left after a node's loss."""
    lines = [f"{recipe.name}: {recipe.title}", f"  {_state(recipe, addon)}"]
    for part in (addon.recipe if addon else recipe).parts:
        lines += _part(part, addon)
    if recipe.light:
        lines.append("  with `light: true`:")
        lines += [line for part in recipe.light.parts for line in _part(part, None)]
    lines += [f"  password {password_name(recipe.name, purpose)}" for purpose in recipe.purposes]
    if recipe.purposes:
        lines.append(f"    imagesmith vault export {password_name(recipe.name, recipe.purposes[0])} FILE")
    lines.append(f"  {recipe.survives}")
    return [*lines, *(f"  {note}" for note in recipe.notes)]


def _state(recipe: Recipe, addon: Addon | None) -> str:
    if addon is None:
        return "not in this inventory"
    said = [f"http://{addon.host}" if addon.host else "no host name: reached by kubectl port-forward"]
    said += [f"{addon.replicas} replicas"] if addon.replicas > 1 else []
    volumes = [volume for part in addon.recipe.parts for volume in part.volumes]
    if addon.storage or any(not volume.optional for volume in volumes):
        said.append(f"storage {addon.storage or 'local'}")
    elif volumes:
        said.append("no volume: it has none without `storage`")
    return ", ".join(said)


def _part(part: RecipePart, addon: Addon | None) -> Iterator[str]:
    share = part.share
    yield f"  {part.name}: {part.reference}"
    yield (
        f"    {show_size(share.memory)} of memory, {show_size(share.memory_limit)} at most; "
        f"{', '.join(part.architectures)}" + (" alone" if len(part.architectures) == 1 else "")
    )
    if part.because:
        yield f"    {part.because}"
    for volume in part.volumes:
        size = addon.size_of(volume) if addon else volume.size
        when = ", where `storage` is given" if volume.optional else ""
        yield f"    volume {volume.name}, {show_size(size)}{when}: {volume.holds}"
