"""Is early stopping a form of regularisation, and what does it save?

Claim: "Gradient descent is slow, and a small learning rate slows it even further. With early stopping, this is a form
of regularization." Source: Alferez, DL Fitting (2025), tricks of the trade; and STAT 453 (2025), L09: where the
validation error rises, regularisation or early stopping is needed. For a least-squares fit the theory is exact: descent
for t steps of size eta keeps of every direction what some ridge keeps, about that of strength 1 / (eta t) (Goodfellow,
Bengio and Courville, Deep Learning (2016), section 7.8), and its risk is at most 1.69 times that ridge's (Ali, Kolter
and Tibshirani, arXiv:1810.10082, theorem 1).

Protocol: 784-h-10, h = 16, 64, 256, ReLU, Adam at 0.001, batch 128, at most 60 epochs on the 3,500 / 500 / 1,000
digits of mnist5k, of whose training and validation labels 0, 20 or 40 % are wrong; the test labels are right. The same
seeds with and without patience, which stops a network inside the compiled loop when the validation loss has not fallen
for 5 epochs. Its error is that of the epoch with the lowest validation loss until then, whose network one keeps, and is
compared with the error after 60 epochs; time is that of training alone. Beside it a ridge penalty for all 60 epochs,
the best of five on validation data. The quadratic: weights drawn at random for the pixels of 1,000 digits that each
seed draws, targets with noise, early stopping and the matching ridge by their closed forms, over times from 1 to 10^5.

Command: python experiments/early_stopping.py
Wall time on two cores: 18 minutes, of which the 4 that are timed had the machine to themselves; --quick 40 s.

Expected: with 20 or 40 % wrong labels stopping lowers the error at every width, by 3.2 points (16 units, 20 %) to 19.6
(256 units, 40 %), and saves 47 to 75 % of the training time. With right labels it saves 18 to 58 % of the time, and is
worth nothing or less: 256 units err on 0.49 points [0.25, 0.72] less after all 60 epochs. Where 40 % are wrong the best
ridge errs on 0.8 to 2.3 points less than stopping does; elsewhere the two are within 0.6 points. For least squares the
largest ratio of the risks is 1.42, and at their best times the two are within 0.5 %.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mlpjax import MLP, Dataset, Recipe, Swept, load, patience, progress_bar, sweep
from mlpjax.claims import Claim, run_experiment
from mlpjax.data.dataset import with_label_noise
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.shrinkage import RISK_RATIO, kept_by_descent, kept_by_ridge, risk
from mlpjax.stats import mean_band

WIDTHS, NOISE, RIDGES = (16, 64, 256), (0.0, 0.2, 0.4), (1e-5, 1e-4, 1e-3, 3e-3, 1e-2)
PATIENCE, EPOCHS, BATCH = 5, 60, 128
EXAMPLES, TIMES = 1000, np.geomspace(1, 1e5, 41)
COLOURS = (GREEN, BLUE, VERMILLION)
DECK = "Alferez, DL Fitting (2025), tricks of the trade"
THEOREM = "Ali, Kolter and Tibshirani, arXiv:1810.10082, theorem 1"


class Group(NamedTuple):
    """What became of networks: arrays [widths, noise, seeds]."""

    end: np.ndarray
    """Test error after all epochs, in %."""
    stopped: np.ndarray
    """That of the network that patience keeps."""
    epochs: np.ndarray
    """Epochs until patience stops."""
    saved: np.ndarray
    """Share of the training time that it saves, in %."""
    ridge: np.ndarray
    """Test error after all epochs under the ridge that validation chooses."""
    strength: np.ndarray
    """Of that ridge, [widths, noise]."""
    curves: np.ndarray
    """Test error by epoch without patience, [widths, noise, seeds, epochs + 1]."""
    diverged: np.ndarray


def train(dataset: Dataset, widths: Sequence[int], noise: Sequence[float], seeds: int, epochs: int) -> Group:
    """Train every width at every share of wrong labels: to the end, with patience, and under ridges."""
    recipe = Recipe(batch_size=BATCH, epochs=epochs)
    over: dict[str, Sequence[Any]] = {
        "widths": [(dataset.features, width, dataset.classes) for width in widths],
        "share": noise,
    }

    def run(what: str, more: dict[str, Sequence[Any]], **options: Any) -> Swept:
        with progress_bar(what, "networks") as on_progress:
            model, data = MLP(over["widths"][0]), partial(with_label_noise, dataset)
            return sweep(model, recipe, data, range(seeds), over | more, on_progress=on_progress, **options)

    whole, early = run("to the end", {}), run("patience", {}, stop=patience(PATIENCE))
    penalised = run("ridge", {"ridge": RIDGES})
    curves = whole.error()
    kept = early.stack(lambda trained: trained.error()[range(seeds), trained.best_evaluation])
    times = [swept.history["seconds"][..., 1:].sum(axis=-1) for swept in (whole, early)]
    stops = early.stack(lambda trained: trained.stopped_at)
    best = penalised.final("valid_loss").mean(axis=-1).argmin(axis=-1)
    chosen = np.take_along_axis(penalised.error()[..., -1], best[..., None, None], axis=2)[:, :, 0]
    return Group(
        curves[..., -1],
        kept,
        np.where(stops < 0, epochs, stops),
        100 * (1 - times[1] / times[0]),
        chosen,
        np.array(RIDGES)[best],
        curves,
        whole.diverged | early.diverged | penalised.diverged.any(axis=2),
    )


def quadratic(dataset: Dataset, seeds: int) -> dict[str, np.ndarray]:
    """Risks of early stopping and of the matching ridge, for the pixels of digits: [seeds, times]."""
    pixels = dataset.train.x.reshape(len(dataset.train.y), -1) / 255
    found: dict[str, list[list[float]]] = {"early stopping": [], "ridge": []}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x = pixels[rng.permutation(len(pixels))[:EXAMPLES]]
        curvatures = np.linalg.eigvalsh((x - x.mean(axis=0)).T @ (x - x.mean(axis=0)) / len(x))
        curvatures = curvatures[curvatures > 1e-10 * curvatures[-1]]
        truth = rng.normal(size=len(curvatures)) / np.sqrt(len(curvatures))
        rate = 0.01 / curvatures[-1]  # small steps, of which the theorem speaks
        noise = float(np.sum(curvatures * truth**2)) / len(x)  # half of the targets' variance
        kept = {
            "early stopping": [kept_by_descent(curvatures, rate, round(time / rate)) for time in TIMES],
            "ridge": [kept_by_ridge(curvatures, 1 / (rate * round(time / rate))) for time in TIMES],
        }
        for name, shares in kept.items():
            found[name].append([risk(share, curvatures, truth, noise) for share in shares])
    return {name: np.array(values) for name, values in found.items()}


def claims_of(group: Group, risks: dict[str, np.ndarray], widths: Sequence[int], noise: Sequence[float]) -> list[Claim]:
    """What stopping does to the error and saves, and how near a ridge comes to it."""
    claims = []
    for row, width in enumerate(widths):
        for column, share in enumerate(noise):
            place = (row, column)
            among = ~group.diverged[place]
            where, last = f"{width} units, {100 * share:g} % wrong labels", place == (len(widths) - 1, len(noise) - 1)
            end, stopped, ridge = group.end[place], group.stopped[place], group.ridge[place]
            points: dict[str, Any] = {"unit": "points", "among": among}
            helps: dict[str, Any] = {"published": 0, "relation": "above", "source": DECK}
            told = "Where labels are wrong, stopping early makes a network more accurate than training on." * last
            claims += [
                Claim.mean(f"{where}: test error when stopped", stopped, unit="%", among=among),
                Claim.difference(
                    f"{where}: test error, at the end above stopped", end, stopped, **points, settles=told,
                    **(helps if share else {}),
                ),
                Claim.difference(f"{where}: test error, best ridge above stopped", ridge, stopped, **points),
                Claim.mean(f"{where}: epochs until the stop", group.epochs[place], unit="epochs", among=among),
                Claim.mean(f"{where}: training time saved", group.saved[place], unit="%", among=among),
            ]  # fmt: skip
    ratio = risks["early stopping"] / risks["ridge"]
    best = {name: values.min(axis=1) for name, values in risks.items()}
    return [
        *claims,
        Claim.every(
            f"quadratic: risk of early stopping at most {RISK_RATIO} times that of the matching ridge, at every time",
            (ratio <= RISK_RATIO).all(axis=1),
            source=THEOREM,
            theorem=True,
        ),
        Claim.mean("quadratic: largest risk of early stopping, in the matching ridge's", ratio.max(axis=1)),
        Claim.mean(
            "quadratic: risk of early stopping at its best time, in that of the best ridge",
            best["early stopping"] / best["ridge"],
            published=1,
            relation="about",
            tolerance=0.05,
            tolerance_source="ours, before any run",
            source=DECK,
            settles="For a least-squares fit, stopping early at the best time is as good as the best ridge penalty.",
        ),
    ]


@mpl.rc_context(STYLE)
def draw(group: Group, risks: dict[str, np.ndarray], widths: Sequence[int], noise: Sequence[float]) -> Figure:
    """Test error by epoch, with the stops, of each share of wrong labels; and the risks of the quadratic."""
    figure = Figure(figsize=(5 * (len(noise) + 1), 5))
    *panels, last = figure.subplots(1, len(noise) + 1)
    for column, (axes, share) in enumerate(zip(panels, noise, strict=True)):
        for row, (width, colour) in enumerate(zip(widths, COLOURS, strict=False)):
            among = ~group.diverged[row, column]
            if not among.any():
                continue
            low, mean, high = mean_band(group.curves[row, column][among][:, 1:])
            epochs = np.arange(1, len(mean) + 1)
            axes.plot(epochs, mean, color=colour, label=f"{width} units")
            axes.fill_between(epochs, low, high, color=colour, alpha=0.25, lw=0)
            stop, error = group.epochs[row, column][among].mean(), group.stopped[row, column][among].mean()
            axes.plot(stop, error, "o", color=colour, mec="black", ms=9)
        axes.set(xlabel="epoch", title=f"{100 * share:g} % wrong labels", xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
    panels[0].set_ylabel("test error (%)")
    for axes in panels[1:]:
        axes.set_ylabel("test error (%)")
    for (name, values), colour in zip(risks.items(), (VERMILLION, BLUE), strict=True):
        low, mean, high = mean_band(values)
        last.plot(TIMES, mean, color=colour, ls="-" if name == "ridge" else "--", label=name)
        last.fill_between(TIMES, low, high, color=colour, alpha=0.25, lw=0)
    last.set(
        xscale="log", yscale="log", xlabel="time = rate x steps = 1 / strength", ylabel="risk", title="least squares"
    )
    last.legend()
    seeds = group.end.shape[2]
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(widths),
        title=f"mean over {seeds} seeds with its 95 % interval; dots: stopped by patience, and the error that it keeps",
    )
    return figure


def settle(
    dataset: Dataset, widths: Sequence[int], noise: Sequence[float], seeds: int, epochs: int, out: Path
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    group, risks = train(dataset, widths, noise, seeds, epochs), quadratic(dataset, seeds)
    (out / "early_stopping.png").write_bytes(png(draw(group, risks, widths, noise)))
    config = {
        "data": dataset.name,
        "epochs": epochs,
        "patience": PATIENCE,
        "ridge chosen, by width and wrong labels": group.strength.tolist(),
        "diverged": int(group.diverged.sum()),
    }
    return claims_of(group, risks, widths, noise), config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    if quick:
        return settle(load("mnist5k"), (32,), (0.0, 0.4), seeds, 30, out)
    return settle(load("mnist5k"), WIDTHS, NOISE, seeds, EPOCHS, out)


if __name__ == "__main__":
    shared = "one split of mnist5k, 1,000 test digits, and one draw of the wrong labels"
    run_experiment("early_stopping", __doc__, body, full_seeds=16, quick_seeds=3, shared=shared)
