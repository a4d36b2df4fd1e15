"""How many large eigenvalues has the Hessian of a classifier? About as many as classes, less one.

Claim: the Hessian of the training loss of a K-class classifier has about K - 1 eigenvalues far above a bulk of very
many near zero, and they come from its Gauss-Newton part. Sources: Sagun, Evci, Guney, Dauphin and Bottou, Empirical
Analysis of the Hessian of Over-Parametrized Neural Networks, arXiv:1706.04454; Papyan, Measurements of Three-Level
Hierarchical Structure in the Outliers in the Spectrum of Deepnet Hessians, arXiv:1901.08244; Ghorbani, Krishnan and
Xiao, arXiv:1901.10159.

Protocol: the digits below K among the 3,500 of mnist5k, for K = 3, 5 and 10; 784-256-128-K, ReLU, softmax
cross-entropy, Adam, the default recipe for 20 epochs. The K + 10 largest eigenvalues at the start and after 1, 2, 5, 10
and 20 epochs, over all training digits, by Lanczos' method with residuals. The outliers are those above the largest gap
in the logarithm of these K + 10. After the last epoch also those of the Gauss-Newton matrix, and the density of all
eigenvalues by stochastic Lanczos quadrature, with probes of its own for every network: as two probes leave the height
of a single eigenvalue open, the mean over the networks is drawn, with its interval.

Command: python experiments/hessian_spectrum.py
Wall time on two cores: about 12 minutes (1,029 s with other work on the machine); --quick about 45 s.

Expected: after one epoch K - 1 outliers in every network, and again at the end, then three to five times above the next
eigenvalue; the largest falls between six- and seventyfold. In between the rule is fallible: at K = 5 after five epochs
three networks of 16 have one eigenvalue so far above the other three outliers that it finds that gap. Before training
the gap is small and the rule mostly finds fewer. The outliers are the Gauss-Newton matrix's to a tenth of a per cent.
The claim is of trained networks, so the count at the start is stated without a verdict.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

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
    Variables,
    load,
    make_task,
    map_seeds,
    mean_loss,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.landscape.curvature import Spectrum, eigenpairs, gauss_newton_product, hessian_product, spectral_density
from mlpjax.report.figures import BLUE, STYLE, VERMILLION, png
from mlpjax.stats import mean_band, quantile_band
from mlpjax.typing import Params

CLASSES = (3, 5, 10)
HIDDEN = (256, 128)
EPOCHS = (0, 1, 2, 5, 10, 20)
"""When the eigenvalues are taken."""
MORE = 10
"""Eigenvalues beyond the K first that are looked at."""
LANCZOS_STEPS = 40
"""Of the density; of the eigenvalues, K more."""
PROBES = 2
SOURCE = "Sagun et al., arXiv:1706.04454; Papyan, arXiv:1901.08244"


class Spectra(NamedTuple):
    """The curvature of many networks with K outputs."""

    hessian: np.ndarray
    """The K + 10 largest eigenvalues, descending: [seeds, epochs, K + 10]."""
    residuals: np.ndarray
    """||H v - lambda v||, of each."""
    gauss_newton: np.ndarray
    """The K + 10 largest eigenvalues of the Gauss-Newton matrix at the end, descending: [seeds, K + 10]."""
    gauss_newton_residuals: np.ndarray
    density: Spectrum
    """Of all eigenvalues of the Hessian at the end; its leaves have a leading axis of seeds."""
    error: np.ndarray
    """Test error in %, at the end."""


def first_classes(dataset: Dataset, classes: int) -> Dataset:
    """The examples of the first so many classes."""

    def keep(split: Split) -> Split:
        rows = np.asarray(split.y) < classes
        return Split(split.x[rows], split.y[rows])

    splits = keep(dataset.train), keep(dataset.valid), keep(dataset.test)
    return Dataset(f"{dataset.name}, {classes} classes", *splits, classes=classes)


def measure(dataset: Dataset, seeds: int, epochs: tuple[int, ...]) -> Spectra:
    """Train a network from every seed, and take its eigenvalues at the epochs."""
    classes = dataset.classes
    model = MLP((dataset.features, *HIDDEN, classes))
    with progress_bar(f"{classes} classes: training") as on_progress:
        recipe = Recipe(epochs=epochs[-1])
        trained = train_many(model, recipe, dataset, range(seeds), snapshots=epochs, on_progress=on_progress)
    task = make_task(model, recipe, dataset.train)
    loss = mean_loss(task)
    top, steps = classes + MORE, classes + LANCZOS_STEPS
    keys = jax.random.split(jax.random.key(0), seeds)

    def curvature(network: tuple[jax.Array, Params], train: Split) -> tuple[Any, ...]:
        seed_key, snapshots = network
        key, probe_key = jax.random.split(seed_key)

        def largest(params: Params) -> tuple[jax.Array, jax.Array]:
            pairs = eigenpairs(hessian_product(loss, params, train), params, key, top=top, steps=steps)
            return pairs.values, pairs.residuals

        params = jax.tree.map(lambda leaf: leaf[-1], snapshots)
        gauss_newton = gauss_newton_product(
            lambda params, train: task.predict(Variables(params), task.prepare(train.x)),
            lambda outputs, train: jnp.mean(task.losses(outputs, jnp.asarray(train.y))),
            params,
            train,
        )
        pairs = eigenpairs(gauss_newton, params, key, top=top, steps=steps)
        density = spectral_density(hessian_product(loss, params, train), params, probe_key, PROBES, LANCZOS_STEPS)
        return *jax.lax.map(largest, snapshots), pairs.values, pairs.residuals, density

    with progress_bar(f"{classes} classes: curvature", "networks") as on_progress:
        largest, residuals, gauss_newton, gauss_newton_residuals, density = map_seeds(
            curvature, (keys, trained.snapshots), dataset.train, chunk=1, on_progress=on_progress
        )
    error = trained.error()[:, -1]
    return Spectra(largest, residuals, gauss_newton, gauss_newton_residuals, density, error)


def outliers(values: np.ndarray) -> np.ndarray:
    """How many eigenvalues, positive and descending along the last axis, lie above the largest gap in their log."""
    return 1 + np.argmax(-np.diff(np.log(values), axis=-1), axis=-1)


def claims_of(epochs: tuple[int, ...], spectra: Spectra) -> list[Claim]:
    """How many outliers there are, how far they stand apart, and how much of them is Gauss and Newton's."""
    classes = spectra.hessian.shape[-1] - MORE
    counts = outliers(spectra.hessian)
    exact = counts == classes - 1
    end, gauss_newton = spectra.hessian[:, -1], spectra.gauss_newton
    off = 100 * np.abs(gauss_newton / end - 1)[:, : classes - 1].mean(axis=1)
    gap = end[:, classes - 2] / end[:, classes - 1]
    name, exactly = f"K = {classes}", f"exactly {classes - 1} outliers"
    settles = f"After any epoch, a classifier of {classes} classes has {classes - 1} curvatures far above all others."
    return [
        Claim.mean(f"{name}: outliers at the start", counts[:, 0]),
        Claim.every(
            f"{name}: {exactly} at every epoch after the start",
            exact[:, 1:].all(axis=1),
            source=SOURCE,
            settles=settles,
        ),
        *(
            Claim.share(f"{name}: {exactly} after epoch {epoch}", exact[:, index])
            for index, epoch in enumerate(epochs[1:-1], 1)
        ),
        Claim.every(f"{name}: {exactly} at the end, after epoch {epochs[-1]}", exact[:, -1], source=SOURCE),
        Claim.mean(f"{name}: eigenvalue {classes - 1} over eigenvalue {classes}", gap),
        Claim.every(
            f"{name}: {exactly} of the Gauss-Newton matrix", outliers(gauss_newton) == classes - 1, source=SOURCE
        ),
        Claim.mean(f"{name}: its {classes - 1} largest eigenvalues, off the Hessian's", off, unit="%"),
    ]


@mpl.rc_context(STYLE)
def draw_training(epochs: tuple[int, ...], found: Mapping[int, Spectra]) -> Figure:
    """The largest eigenvalues through training, those of the outliers' places in other colours than the rest."""
    figure = Figure(figsize=(15, 5.6))
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    places = np.arange(len(epochs))
    for axes, (classes, spectra) in zip(panels, found.items(), strict=True):
        for index in range(classes + MORE):
            lower, median, upper = quantile_band(spectra.hessian[:, :, index])
            outlying, last = index < classes - 1, index == classes - 1
            colour = BLUE if outlying else VERMILLION if last else "#999999"
            name = f"1 to {classes - 1}" if index == 0 else f"{classes}" if last else None
            name = f"{classes + 1} to {classes + MORE}" if index == classes else name
            axes.plot(places, median, color=colour, lw=2.2 if outlying or last else 1.2, label=name)
            axes.fill_between(places, lower, upper, color=colour, alpha=0.15, lw=0)
        axes.set(xlabel="epoch", title=f"K = {classes} classes", yscale="log")
        axes.set_xticks(places, [str(epoch) for epoch in epochs])
        axes.legend(loc="lower left", title="eigenvalue")
    panels[0].set_ylabel("largest eigenvalues of the Hessian")
    figure.suptitle(f"median over {len(spectra.error)} seeds, and band of the central 95 % of them", fontsize=13)
    return figure


@mpl.rc_context(STYLE)
def draw_density(found: Mapping[int, Spectra]) -> Figure:
    """The density of all eigenvalues at the end, as a mean over the seeds, and the largest of every seed."""
    figure = Figure(figsize=(15, 5.2))
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (classes, spectra) in zip(panels, found.items(), strict=True):
        ticks = spectra.hessian[:, -1]
        width = 0.01 * float(ticks.max())
        floor = 1e-8 / width  # a hundredth of the peak of one eigenvalue among 235,000
        # Six widths: there the blur of all eigenvalues together is below the floor.
        at = jnp.linspace(float(spectra.density.nodes.min()) - 6 * width, float(ticks.max()) + 6 * width, 800)
        lines = map_seeds(Spectrum.density, spectra.density, at, jnp.float32(width), chunk=1)
        lower, mean, upper = np.maximum(mean_band(lines), floor)
        axes.fill_between(at, lower, upper, color=BLUE, alpha=0.3, lw=0, label="its 95 % interval")
        axes.plot(at, np.where(mean > floor, mean, np.nan), color=BLUE, lw=1.6, label="mean density")
        above_axis = axes.get_xaxis_transform()
        for group, height, colour, name in (
            (ticks[:, : classes - 1], 0.03, VERMILLION, f"{classes - 1} largest eigenvalues of each"),
            (ticks[:, classes - 1 :], 0.08, "black", f"the next {MORE + 1}"),
        ):
            values = group.ravel()
            heights = np.full(len(values), height)
            axes.plot(values, heights, "|", color=colour, ms=12, mew=1, alpha=0.6, transform=above_axis, label=name)
        axes.set(xlabel="eigenvalue of the Hessian", title=f"K = {classes} classes", yscale="log")
        axes.set_ylim(bottom=floor)
        axes.legend(loc="upper right")
    panels[0].set_ylabel("share of the eigenvalues per unit")
    figure.suptitle(f"{len(spectra.error)} seeds, {PROBES} probes each", fontsize=13)
    return figure


def settle(
    dataset: Dataset, classes: tuple[int, ...], epochs: tuple[int, ...], seeds: int, out: Path
) -> tuple[list[Claim], dict[str, Any]]:
    """Measure the curvature for every number of classes, draw the figures and state the claims."""
    found = {k: measure(first_classes(dataset, k), seeds, epochs) for k in classes}
    (out / "hessian_spectrum_training.png").write_bytes(png(draw_training(epochs, found)))
    (out / "hessian_spectrum_density.png").write_bytes(png(draw_density(found)))
    config = {
        "data": f"{dataset.name}, {len(dataset.train.y):,} digits",
        "hidden units": HIDDEN,
        "epochs": epochs,
        "outliers at these epochs": {
            k: outliers(spectra.hessian).mean(axis=0).tolist() for k, spectra in found.items()
        },
        "steps of Lanczos' method": {"density": LANCZOS_STEPS, "eigenvalues": f"K + {LANCZOS_STEPS}"},
        "probes of the density, each network": PROBES,
        "test error (%)": {k: float(spectra.error.mean()) for k, spectra in found.items()},
        "largest residual of the first K eigenvalues, of the eigenvalue": {
            k: float((spectra.residuals / spectra.hessian)[:, :, :k].max()) for k, spectra in found.items()
        },
        "the same of the Gauss-Newton matrix": {
            k: float((spectra.gauss_newton_residuals / spectra.gauss_newton)[:, :k].max())
            for k, spectra in found.items()
        },
    }
    config["notes"] = [
        "An older version judged the first and the last epoch only, where K - 1 outliers were in all 16 networks, and "
        "said so of every epoch; at K = 5 after epoch 5 three of the 16 had one. The rule for outliers is the same.",
    ]
    return [claim for spectra in found.values() for claim in claims_of(epochs, spectra)], config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    dataset = load("mnist5k")
    if quick:
        few = Split(dataset.train.x[:1000], dataset.train.y[:1000])
        return settle(dataclasses.replace(dataset, train=few), CLASSES[:2], (0, 1, 5), seeds, out)
    return settle(dataset, CLASSES, EPOCHS, seeds, out)


if __name__ == "__main__":
    run_experiment("hessian_spectrum", __doc__, body, full_seeds=16, quick_seeds=2, shared="one split of mnist5k")
