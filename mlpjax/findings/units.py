"""Symmetry breaking: what became of the hidden units, after a random start and after an all-zero one."""

from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Int, Real
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mlpjax import stats
from mlpjax.data import Split
from mlpjax.findings.finding import Finding, any_finite
from mlpjax.findings.subject import Subject
from mlpjax.history import summarise_group
from mlpjax.landscape.symmetries import distinct_units
from mlpjax.landscape.symmetry_breaking import Ranks, ranks, zero_gradients
from mlpjax.lift import OnProgress, silent
from mlpjax.models import MLP
from mlpjax.report.figures import STYLE
from mlpjax.report.page import Picture, Table, Tile
from mlpjax.report.tables import SUMMARY_HEADER, error_tile, summary_rows
from mlpjax.task import mean_loss
from mlpjax.typing import Params

GROUPS = {"random": "random start", "zero": "all-zero start"}
"""Of networks, in words."""


class Units(NamedTuple):
    """The hidden units of many networks, layer by layer."""

    distinct: Int[np.ndarray, "networks hidden_layers"]
    """How many different ones each network has."""
    kernel_rank: Int[np.ndarray, "networks hidden_layers"]
    """Of the weights into them."""
    activation_rank: Int[np.ndarray, "networks hidden_layers"]
    """Of what they give on the training examples."""


class SymmetryBreaking(NamedTuple):
    """How far hidden units, which all-zero parameters make alike, are apart."""

    units: dict[str, Units]
    """Of every group of networks, where they are MLPs."""
    controls: dict[str, Any] | None
    """Final figures of the networks that started at zero; None where there are none."""
    zero_gradients: dict[str, float]
    """By leaf, such as dense_0/kernel: share of its gradient that is exactly zero where all parameters are zero."""
    kernels: dict[str, Real[np.ndarray, "inputs units"]]
    """Weights into the first layer of the median network and of the first control."""
    seed: int | None
    """Of the median network; None where all diverged."""
    image_shape: tuple[int, ...] | None


def find(subject: Subject, on_progress: OnProgress = silent) -> SymmetryBreaking:
    """Count the different hidden units of every network, and the ranks of its hidden layers, where it is an MLP."""
    model, controls, has_median = subject.model, subject.zero, any_finite(subject)
    units, gradients, kernels = {}, {}, {}
    if isinstance(model, MLP):
        gradients = _zero_gradients(model, subject, on_progress)
        if model.hidden_layers:
            units = _units(model, subject, on_progress)
            if controls is not None and has_median:
                kernels = {
                    "random": np.asarray(subject.random.params["dense_0"]["kernel"][subject.median]),
                    "zero": np.asarray(controls.params["dense_0"]["kernel"][0]),
                }
    return SymmetryBreaking(
        units=units,
        controls=None if controls is None else summarise_group(controls),
        zero_gradients=gradients,
        kernels=kernels,
        seed=int(subject.random.seeds[subject.median]) if has_median else None,
        image_shape=subject.dataset.image_shape,
    )


def _units(model: MLP, subject: Subject, on_progress: OnProgress) -> dict[str, Units]:
    task = subject.task

    def look(params: Params, split: Split) -> tuple[Array, Ranks]:
        return distinct_units(params), ranks(model, params, task.prepare(split.x))

    units = {}
    for name, group in (("random", subject.random), ("zero", subject.zero)):
        if group is None:
            continue
        distinct, found = subject.look(
            f"units-{name}", look, group.params, subject.train, chunk=1, on_progress=on_progress
        )
        units[name] = Units(distinct, found.kernel, found.activations)
    return units


def _zero_gradients(model: MLP, subject: Subject, on_progress: OnProgress) -> dict[str, float]:
    task = subject.task

    def count(params: Params, split: Split) -> Params:
        return zero_gradients(mean_loss(task), params, split)

    zero = jax.tree.map(np.zeros_like, model.init(jax.random.key(0)).params)
    counts = subject.look_at_one("units-gradients", count, zero, subject.train, on_progress=on_progress)
    leaves, _ = jax.tree_util.tree_flatten_with_path(zero)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): float(found) / leaf.size
        for (path, leaf), found in zip(leaves, jax.tree.leaves(counts), strict=True)
    }


def summarise(found: SymmetryBreaking) -> dict[str, Any]:
    """How many different units the hidden layers of every group have."""
    return {
        name: {f"layer {layer + 1}": stats.summarise(distinct) for layer, distinct in enumerate(units.distinct.T)}
        for name, units in found.units.items()
    }


def tiles(found: SymmetryBreaking) -> list[Tile]:
    """The test error that an all-zero start comes to."""
    return error_tile("All-zero start, test", found.controls, "test") if found.controls else []


def show(found: SymmetryBreaking) -> list[Table | Picture]:
    """What became of the all-zero start, beside the random one; nothing where there are no controls."""
    if found.controls is None:
        return []
    items: list[Table | Picture] = [
        Table("The control group after training", SUMMARY_HEADER, summary_rows(found.controls))
    ]
    if found.units:
        items += _tables(found)
    if found.kernels:
        image_shape = found.image_shape if found.image_shape and len(found.image_shape) == 2 else None
        figure = draw_kernels(found.kernels["random"], found.kernels["zero"], image_shape)
        items.append(
            Picture(
                "hidden_units",
                "Weights into the first hidden layer",
                figure,
                f"Random start (seed {found.seed}) against all-zero start.",
                "Weights of hidden units, random against all-zero start",
            )
        )
    return items


def _tables(found: SymmetryBreaking) -> list[Table]:
    rows = []
    for group, units in found.units.items():
        for layer in range(units.distinct.shape[1]):
            rows.append((GROUPS[group], f"{layer + 1}", *(_span(column[:, layer]) for column in units)))
    return [
        Table(
            "Symmetry breaking: different hidden units",
            ("", "hidden layer", "different units", "rank of the weights", "rank of the activations"),
            rows,
            "Units that start alike get the same gradient and stay alike for ever: however wide, the layer is one "
            "unit. From the lowest to the highest of all seeds. Rank: singular values above a thousandth of the "
            "largest.",
        ),
        Table(
            "Gradients at an all-zero start",
            ("parameters", "exactly zero"),
            [(name, f"{100 * share:.0f} %") for name, share in found.zero_gradients.items()],
            "What has no gradient cannot move at the first step.",
        ),
    ]


def _span(values: Int[np.ndarray, " networks"]) -> str:
    return f"{values.min()}" if values.min() == values.max() else f"{values.min()} to {values.max()}"


@mpl.rc_context(STYLE)
def draw_kernels(
    kernel_random: Real[np.ndarray, "inputs units"],
    kernel_control: Real[np.ndarray, "inputs units"],
    image_shape: tuple[int, int] | None = None,
) -> Figure:
    """What the first hidden units look for, after a random start and after an all-zero start.

    Args:
        kernel_random: trained weights into the first layer, from a random start.
        kernel_control: the same from an all-zero start, where every unit is the same unit.
        image_shape: (height, width) in pixels where the inputs are grey images.

    Returns:
        The first sixteen units of each, as images; where inputs are no images, as columns of a heat map. Each
        start has its own colour scale, centred on zero: all-zero starts may hardly have moved.
    """
    figure = Figure(figsize=(12, 7.2 if image_shape else 4.8))
    parts = figure.subfigures(*((2, 1) if image_shape else (1, 2)), squeeze=False).ravel()
    kernels = {"random start": kernel_random, "all-zero start": kernel_control}
    for part, (title, kernel) in zip(parts, kernels.items(), strict=True):
        units = kernel[:, :16]
        largest = float(np.abs(units).max()) or 1.0  # weights that stayed zero have no scale of their own
        scale = Normalize(-largest, largest)
        part.suptitle(title)
        if image_shape is None:
            panels = part.subplots()
            shown = panels.imshow(units, cmap="RdBu_r", norm=scale, aspect="auto", interpolation="nearest")
            panels.set(xlabel="hidden unit", ylabel="input")
            panels.locator_params(integer=True)
            panels.grid(False)
        else:
            panels = part.subplots(2, 8)
            for axes in panels.ravel():
                axes.set_axis_off()
            for axes, unit in zip(panels.ravel(), units.T, strict=False):
                shown = axes.imshow(unit.reshape(image_shape), cmap="RdBu_r", norm=scale)
        part.colorbar(shown, ax=panels, label="weight")
    return figure


FINDING = Finding(
    name="distinct_units",
    title="Symmetry breaking",
    unit="networks",
    section="All-zero start",
    order=70,
    find=find,
    summarise=summarise,
    show=show,
    tiles=tiles,
    applies=lambda subject: True,
)
