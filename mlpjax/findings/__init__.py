"""What a study finds in its trained networks: the landscape they ended in, and what they get wrong."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeAlias

from mlpjax.data import Dataset
from mlpjax.findings.barriers import Barriers, find_barriers
from mlpjax.findings.endings import Endings, find_endings
from mlpjax.findings.mistakes import Mistakes, find_mistakes
from mlpjax.findings.selection import converged
from mlpjax.findings.spectra import Spectra, find_spectra
from mlpjax.findings.surface import Surface, find_surface
from mlpjax.findings.trajectory import Trajectory, find_trajectory
from mlpjax.findings.units import Units, find_units, find_zero_gradients
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import OnProgress, Trained

Watch: TypeAlias = Callable[[str, str], AbstractContextManager[OnProgress]]
"""(what is looked at, the unit of the work) -> where to tell what is done."""


class Findings(NamedTuple):
    """All of it; a part is None where there is nothing to look at, as where all networks diverged."""

    surface: Surface | None
    trajectory: Trajectory | None
    spectra: Spectra | None
    barriers: Barriers | None
    endings: Endings | None
    mistakes: Mistakes | None
    units: dict[str, Units]
    """The hidden units of every group; empty without a hidden layer."""
    zero_gradients: dict[str, float]
    """Share of every leaf's gradient that is exactly zero where all parameters are."""


def find(
    model: MLP,
    recipe: Recipe,
    dataset: Dataset,
    groups: Mapping[str, Trained],
    freeze: Collection[str],
    grid: int,
    watch: Watch,
) -> Findings:
    """Look at every group's hidden units, and at the landscape and the mistakes of the group `random`.

    Args:
        model: the network.
        recipe: names the loss.
        dataset: what they were trained on.
        groups: many networks by the name of their group.
        freeze: names of the keys that all networks shared.
        grid: points along each side of a surface.
        watch: is told what happens.
    """
    trained = groups["random"]
    task = model, recipe, dataset, trained
    left = len(converged(trained))
    surface = trajectory = spectra = barriers = endings = mistakes = None
    if left:
        with watch("Loss surface", "slices") as on_progress:
            surface = find_surface(*task, grid)
            on_progress(1, 1)
        with watch("The way of one training", "periods") as on_progress:
            trajectory = find_trajectory(*task, freeze, grid, on_progress)
        with watch("Curvature", "networks") as on_progress:
            spectra = find_spectra(*task, on_progress)
        with watch("Where the seeds ended", "networks") as on_progress:
            endings = find_endings(*task, spectra, on_progress)
        with watch("Mistakes", "splits") as on_progress:
            mistakes = find_mistakes(*task)
            on_progress(1, 1)
    if left > 1:
        with watch("Barriers between seeds", "pairs") as on_progress:
            barriers = find_barriers(*task, on_progress)
    units = {}
    if model.hidden_layers:
        with watch("Hidden units", "groups") as on_progress:
            for done, (name, group) in enumerate(groups.items(), 1):
                units[name] = find_units(model, dataset, group)
                on_progress(done, len(groups))
    zero_gradients = find_zero_gradients(model, recipe, dataset)
    return Findings(surface, trajectory, spectra, barriers, endings, mistakes, units, zero_gradients)
