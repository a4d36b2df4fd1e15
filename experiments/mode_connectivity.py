"""Is a barrier between two networks a wall, or can one walk around it?

Claim: two networks, trained independently, are connected by a curve with a single bend along which train loss and test
error hardly change, while the straight line between them crosses a barrier. Source: Garipov, Izmailov, Podoprikhin,
Vetrov and Wilson, Loss surfaces, mode connectivity, and fast ensembling of DNNs, arXiv:1802.10026, and the table of
the authors' repository timgaripov/dnn-mode-connectivity (rounded to 0.01 nats and 0.01 %).

Published, on CIFAR-10, from the worse end to the highest point of the curve: train loss (with weight decay) from 0.24
to 0.24, 0.18 to 0.18 and 0.09 to 0.09 nats along Bezier curves, and 0.24 to 0.27, 0.18 to 0.18 and 0.09 to 0.10 along
polygons (VGG16, PreResNet164, WideResNet28x10); test error at most from 6.94 to 7.75 and from 6.94 to 8.08 % (VGG16).
So a rise of at most 0.01 and 0.04 nats, as far as the rounding tells, and of 0.81 and 1.14 points. Their networks and
data are not these: the claim is that no higher rise is needed for an MLP.

Protocol: 784-256-128-10, ReLU, on the 3,500 / 1,000 digits of mnist5k, Adam 1e-3, batch 128, 30 epochs. Seeds 0 and 1
are a pair, 2 and 3, and so on, so that pairs are independent; every interval is over pairs, and they are what the
ledger counts as seeds. A curve's bend starts in the middle of the line and takes 3,000 steps of Adam, from 3e-3 down
to 0 as a cosine, each at one t ~ U[0, 1] on a minibatch of 128 digits: about 110 epochs, where the ends took 30
(published: SGD, 200 to 600 epochs and 150 to 200). Losses are taken at 61 points, as published, on all digits; a rise
is from the worse end to the highest of them.

Command: python experiments/mode_connectivity.py
Wall time on two cores: about 4 minutes (301 s with other work on the machine); --quick 15 s.

Expected: the line crosses a barrier of about 0.8 nats and 24 points of test error. Along the Bezier curve the train
loss rises above its ends by some 0.00001 nats, and along the polygon by 0.0005; the test error rises by less than half
a point. The test *loss* does rise, by about 0.05 nats on Bezier curves and 0.2 on polygons: in the
middle, where the train loss is far below that of the ends, networks are as often wrong but surer of it.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Recipe,
    Split,
    UserError,
    Variables,
    evaluate,
    load,
    make_task,
    map_seeds,
    mean_loss,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.mode_connectivity import CURVES, barrier, fit_curve, line, on_curve
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import bootstrap_ci
from mlpjax.typing import Params

T = np.linspace(0, 1, 61, dtype=np.float32)
COLOURS = {"line": VERMILLION, "polygon": GREEN, "bezier": BLUE}
PUBLISHED = {"polygon": {"train loss": 0.04, "test error": 1.14}, "bezier": {"train loss": 0.01, "test error": 0.81}}
SOURCE = "Garipov et al., arXiv:1802.10026, CIFAR-10, highest of three networks"
UNITS = {"train loss": "nats", "test loss": "nats", "test error": "points"}

Profiles = dict[str, dict[str, np.ndarray]]
"""By path, then by `train loss`, `train error`, `test loss` and `test error`: arrays [pairs, points], nats and %."""


def walk_all(model: MLP, recipe: Recipe, dataset: Dataset, seeds: int, steps: int) -> tuple[Profiles, np.ndarray]:
    """Train networks and look at the three paths between the two of every pair; also the lengths of their bends.

    The length is that of the bend's distance from the middle of the line, relative to half of the line.
    """
    with progress_bar("Training the ends") as on_progress:
        trained = train_many(model, recipe, dataset, range(seeds), on_progress=on_progress)
    if trained.diverged.any():
        raise UserError(f"{trained.diverged.sum()} of {seeds} networks diverged")
    starts, ends = (jax.tree.map(lambda leaf, first=first: leaf[first::2], trained.params) for first in (0, 1))
    keys = jax.random.split(jax.random.key(0), seeds // 2)
    task = make_task(model, recipe, dataset.train)
    loss = mean_loss(task)

    def walk(pair: Any, train: Split, test: Split) -> Any:
        start, end, key = pair

        def look(params: Params) -> Any:
            found = {}
            for name, split in (("train", train), ("test", test)):
                figures = evaluate(task, Variables(params), split)
                found |= {f"{name} loss": figures["loss"], f"{name} error": 100 * (1 - figures["accuracy"])}
            return found

        profiles, away = {"line": line(look, start, end, jnp.asarray(T))}, {}
        for curve, curve_key in zip(CURVES, jax.random.split(key, len(CURVES)), strict=True):
            bend = fit_curve(loss, start, end, train, curve_key, curve, steps=steps, learning_rate=3e-3, batch_size=128)
            profiles[curve] = jax.lax.map(
                lambda t, curve=curve, bend=bend: look(on_curve(curve, start, bend, end, t)), jnp.asarray(T)
            )
            middle = jax.tree.map(lambda a, b: (a + b) / 2, start, end)
            away[curve] = distance(bend, middle) / distance(start, middle)
        return profiles, away

    with progress_bar("Bending paths", "pairs") as on_progress:
        found = map_seeds(walk, (starts, ends, keys), dataset.train, dataset.test, chunk=4, on_progress=on_progress)
    return jax.tree.map(lambda leaf: np.asarray(leaf, float), found)


def distance(a: Params, b: Params) -> jax.Array:
    """Euclidean distance of two networks' parameters."""
    parts = [jnp.sum((x - y) ** 2) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)]
    return jnp.sqrt(jnp.sum(jnp.stack(parts)))


def rise(values: np.ndarray) -> np.ndarray:
    """From the worse end to the highest point of every path; `values` is [pairs, points]."""
    return values.max(axis=1) - np.maximum(values[:, 0], values[:, -1])


def claims_of(profiles: Profiles, away: dict[str, np.ndarray]) -> list[Claim]:
    """Rises and barriers of the three paths, and how much lower those of the curves are."""
    claims = []
    for path in COLOURS:
        profile = profiles[path]
        for what, unit in UNITS.items():
            published = PUBLISHED.get(path, {}).get(what)
            beside = {} if published is None else {"published": published, "relation": "at most", "source": SOURCE}
            claims.append(Claim.mean(f"{path}: rise of the {what}", rise(profile[what]), unit=unit, **beside))
        for above in ("chord", "mean"):
            barriers = [float(barrier(jnp.asarray(T), jnp.asarray(row), above)) for row in profile["train loss"]]
            name = f"{path}: barrier of the train loss above the {above}"
            claims.append(Claim.mean(name, np.array(barriers), unit="nats"))
    more = {"published": 0, "relation": "at least", "source": SOURCE}
    straight = rise(profiles["line"]["train loss"])
    for curve in CURVES:
        lower = straight - rise(profiles[curve]["train loss"])
        claims += [
            Claim.mean(f"rise of the train loss, line above {curve}", lower, unit="nats", **more),
            Claim.mean(f"{curve}: distance of the bend from the line's middle", away[curve], unit="half lines"),
        ]
    return claims


@mpl.rc_context(STYLE)
def draw(profiles: Profiles) -> Figure:
    """Loss and error along the three paths."""
    figure = Figure(figsize=(13, 8.4))
    panels = figure.subplots(2, 2, sharex=True)
    for axes, what in zip(panels.ravel(), ("train loss", "train error", "test loss", "test error"), strict=True):
        for path, colour in COLOURS.items():
            values = profiles[path][what]
            low, high = np.array([bootstrap_ci(column) for column in values.T]).T
            axes.plot(T, values.mean(axis=0), color=colour, label=path)
            axes.fill_between(T, low, high, color=colour, alpha=0.25, lw=0)
        axes.set_ylabel(f"{what} ({'nats' if what.endswith('loss') else '%'})")
        if what == "train loss":  # from 1e-5 to 1
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
    for axes in panels[1]:
        axes.set_xlabel("t, from one network to the other")
    title = f"mean over {len(values)} pairs of networks, and band of its 95 % interval"
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, title=title)
    return figure


def settle(
    dataset: Dataset, hidden: tuple[int, ...], epochs: int, steps: int, seeds: int, out: Path
) -> tuple[list[Claim], dict[str, Any]]:
    """Train, bend, draw the figure and state the claims."""
    if seeds < 4 or seeds % 2:
        raise UserError(f"--seeds {seeds}: give an even number, at least 4; networks are compared in pairs")
    model = MLP((dataset.features, *hidden, dataset.classes))
    recipe = Recipe(epochs=epochs, eval_every=epochs)
    profiles, away = walk_all(model, recipe, dataset, seeds, steps)
    (out / "mode_connectivity.png").write_bytes(png(draw(profiles)))
    config = {"networks": seeds, "widths": list(model.widths), "epochs": epochs, "steps": steps}
    return claims_of(profiles, away), config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    if quick:
        return settle(load("mnist5k"), (64,), 15, 500, seeds, out)
    return settle(load("mnist5k"), (256, 128), 30, 3000, seeds, out)


if __name__ == "__main__":
    run_experiment("mode_connectivity", __doc__, body, full_seeds=32, quick_seeds=8)
