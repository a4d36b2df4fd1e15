"""Where does dropout hurt, where does it help, and why?

Claims: on MNIST the course's 784-75-45-10 reaches 97.77 % test accuracy without dropout and 96.60 % with half of the
units dropped: it hurts. Source: S. Raschka, STAT 453 (2021), L10, notebook dropout, one run each. ISLR's 784-256-128-10
errs on 1.8 % with dropout 0.4 and 0.3, and 2.3 % with ridge; it has no figure without regularisation, which is
"essential" with so many parameters. Source: James, Witten, Hastie and Tibshirani, An Introduction to Statistical
Learning, 2nd edition (2021), table 10.1; experiments/islr_table.py asks for the rest of the table. Why: dropout is
against overfitting (Srivastava et al., JMLR 15 (2014)), so it should help where a network overfits. "Scale up the
weights of those retained by 1/(1 - rate) to compensate": the mean over masks is the whole layer. "In simple scenarios
like linear regression" dropout is "equivalent to ridge regularization", and weights "are drawn closer together".
Source: Alferez, DL Fitting (2025), dropout regularization.

Protocol: either network as published, and with the other's training. The course's: SGD at 0.1, batch 256, 50 epochs on
the first 54,000 digits. ISLR's: RMSprop at 0.001, batch 128, 30 epochs on all 60,000. The course's network starts as
PyTorch draws it, ISLR's after He. The same seeds with and without dropout. The map: 784-h-h-10, h = 16, 64, 256, Adam
at 0.001, batch 128, the 3,500 / 500 / 1,000 digits of mnist5k, rates 0 to 0.8, read after 10, 30 and 100 epochs. What
dropout gains is counted on test digits; how far a network overfits without it is its validation loss above its training
loss, so that no luck with test digits is in both. The layer: 10,000 masks of the library's, one digit. Least squares:
50 examples, 8 correlated inputs of very different scales, all 256 masks, in float64. Together: 784-256-256-10, 60
epochs, 20 % wrong labels in training and validation, with and without dropout 0.5, with and without patience of 5
epochs, whose error is that of the lowest validation loss.

Command: python experiments/dropout.py --data idx:DIR, where DIR holds the four files of MNIST in idx format, .gz or
not, or --data tfds:mnist; or set MLPJAX_MNIST to either. A run that was killed goes on where it was.
Wall time on two cores: 23 minutes (beside other work, without AMX); --quick 50 s, on mnist5k.

Expected: the course's figures reproduce, within what another seed would give: dropout costs its network 1.2 points,
with ISLR's training as with its own. ISLR's network errs on 1.78 % [1.66, 1.91] with dropout, but on 0.06 points less
without, which 8 seeds do not tell from 0; with the course's training dropout gains it 0.18 points. On the map low rates
help the widest networks a little, and any rate hurts the narrowest, by 3 to 10 points at 0.4. Yet of networks trained
for 100 epochs it is the narrowest whose loss overfits most: longer training makes both the overfitting and the gain
grow, but between widths the gain goes with the width alone. With 20 % wrong labels dropout lowers the error from 18.6
to 11.7 %, early stopping to 8.8 %, and both to 8.2 %, which is not told apart from stopping alone.
"""

import itertools
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import scipy
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Checkpoints,
    Dataset,
    Recipe,
    Split,
    Swept,
    UserError,
    load,
    make_keys,
    patience,
    progress_bar,
    sweep,
)
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.dataset import with_label_noise
from mlpjax.data.mnist import load_mnist
from mlpjax.report.figures import BLUE, GREEN, ORANGE, STYLE, VERMILLION, png
from mlpjax.shrinkage import ridge_fit, ridge_of_dropout
from mlpjax.stats import mean_band

COURSE, ISLR = "course", "ISLR"
NETWORKS: dict[str, tuple[tuple[int, ...], tuple[float, ...], dict[str, Any]]] = {
    COURSE: ((75, 45), (0.5, 0.5), {"initializer": "torch", "bias": "same"}),
    ISLR: ((256, 128), (0.4, 0.3), {}),
}
"""Hidden units, their rates, and the start."""
TRAININGS = {
    COURSE: (Recipe(optimizer="sgd", learning_rate=0.1, batch_size=256, epochs=50), 0.9),
    ISLR: (Recipe(optimizer="rmsprop", epochs=30), 1.0),
}
"""How, and on which share of the training digits."""
ACCURACY = {"train": (99.73, 97.48), "test": (97.77, 96.60)}
"""In %, of the course's network without dropout and with it."""
WIDTHS, RATES, TIMES = (16, 64, 256), (0.0, 0.2, 0.4, 0.6, 0.8), (10, 30, 100)
RATE = 0.4
"""At which single cells of the map are judged: ISLR's."""
WRONG, HALF, PATIENCE, EPOCHS = 0.2, 0.5, 5, 60
MASKS, UNITS, LAYER_RATES = 10_000, 64, (0.2, HALF, 0.8)
ERRORS = 5
"""Standard errors that no unit's mean is further off: a chance of one in a thousand for some 1,500 units."""
EXAMPLES, INPUTS, LINEAR_RATES = 50, 8, np.linspace(0, 0.9, 10)
AGREE = 1e-10
ABOVE = "test error, without dropout above with"
NOTEBOOK = "STAT 453 (2021), L10, dropout, In [8] and In [9], one run"
TABLE = "ISLR, 2nd edition, table 10.1"
ESSENTIAL = "Alferez, DL Fitting (2025), results: with so many parameters, regularization is essential"
PAPER = "Srivastava et al., JMLR 15 (2014)"
DECK = "Alferez, DL Fitting (2025), dropout regularization"
L09 = "STAT 453 (2025), L09: where the validation error rises, early stopping is needed"
OURS = "ours, before any run"
RIDGE = "Srivastava et al., JMLR 15 (2014), section 9.1; Wager, Wang and Liang, arXiv:1307.1493"
NOTES = [
    "All trainings take half of the seeds.",
    "What is claimed of the map was chosen after a quick run of two widths and before any of the whole map; the "
    "headlines among it after a trial of 2 seeds.",
]
COLOURS = (GREEN, BLUE, VERMILLION)


class Map(NamedTuple):
    """What became of the map: arrays [widths, rates, seeds, times]."""

    widths: Sequence[int]
    rates: Sequence[float]
    times: Sequence[int]
    error: np.ndarray
    """On test digits, in %."""
    gap: np.ndarray
    """Validation above training loss without dropout, [widths, seeds, times]."""


class Linear(NamedTuple):
    """Least squares under dropout of the inputs."""

    by_masks: np.ndarray
    """Weights of the least mean loss over all masks, times their inputs' size, [seeds, rates, inputs]."""
    by_ridge: np.ndarray
    """Those of ridge in closed form, of strength rate / (1 - rate) for inputs of size 1."""
    loss_off: np.ndarray
    """Relative distance of the mean loss over all masks from the loss with the penalty, [seeds, rates]."""


def gains(values: np.ndarray) -> np.ndarray:
    """How much lower each rate makes something than none, of [widths, rates, ...]."""
    return np.asarray(values[:, :1] - values[:, 1:])


def run(
    what: str, model: MLP, recipe: Recipe, dataset: Dataset, over: dict[str, Any], seeds: int, out: Path, **options: Any
) -> Swept:
    """Train at every setting, and keep what is done."""
    kept = out / "checkpoints" / what.replace(" ", "-")
    with progress_bar(what, "networks") as on_progress:
        swept = sweep(
            model,
            recipe,
            dataset,
            range(seeds),
            over,
            store=lambda program: Checkpoints(kept / program),
            on_progress=on_progress,
            **options,
        )
    for trained in swept.trained:
        trained.require_finite()
    return swept


def train_published(dataset: Dataset, part: int, seeds: int, out: Path) -> dict[str, np.ndarray]:
    """Errors in % after 1 / part of the epochs, by split: [networks, trainings, without dropout and with, seeds]."""
    found: dict[str, list[list[np.ndarray]]] = {split: [] for split in ACCURACY}
    for name, (hidden, rates, start) in NETWORKS.items():
        model = MLP((dataset.features, *hidden, dataset.outputs), **start)
        rows = []
        for how, (recipe, share) in TRAININGS.items():
            first, epochs = round(share * len(dataset.train.y)), recipe.epochs // part
            digits = replace(dataset, train=Split(dataset.train.x[:first], dataset.train.y[:first]))
            recipe = replace(recipe, epochs=epochs, eval_every=epochs)
            what, over = f"{name} network {how} training", {"dropout": [(0.0,) * len(rates), rates]}
            rows.append(run(what, model, recipe, digits, over, seeds, out))
        for split, errors in found.items():
            errors.append([swept.error(split)[..., -1] for swept in rows])
    return {split: np.array(errors) for split, errors in found.items()}


def train_map(
    dataset: Dataset, widths: Sequence[int], rates: Sequence[float], times: Sequence[int], seeds: int, out: Path
) -> Map:
    """Two hidden layers of every width at every rate, read at several times of one training."""
    layers = [(dataset.features, width, width, dataset.outputs) for width in widths]
    recipe = Recipe(epochs=times[-1], eval_every=math.gcd(*times))
    swept = run("map", MLP(layers[0]), recipe, dataset, {"widths": layers, "dropout": rates}, seeds, out)
    at = [time // recipe.eval_every for time in times]
    gap = swept.history["valid_loss"][:, 0] - swept.history["train_loss"][:, 0]
    return Map(widths, rates, times, swept.error()[..., at], gap[..., at])


def train_both(dataset: Dataset, width: int, epochs: int, seeds: int, out: Path) -> np.ndarray:
    """With wrong labels, test error in %: [without dropout and with, to the end and stopped, seeds]."""
    noisy = with_label_noise(dataset, WRONG)
    model, recipe = MLP((dataset.features, width, width, dataset.outputs)), Recipe(epochs=epochs)
    over = {"dropout": (0.0, HALF)}
    whole = run("to the end", model, recipe, noisy, over, seeds, out)
    early = run("patience", model, recipe, noisy, over, seeds, out, stop=patience(PATIENCE))
    stopped = early.stack(lambda trained: trained.error()[range(seeds), trained.best_evaluation])
    return np.stack([whole.error()[..., -1], stopped], axis=1)


def layer_means(dataset: Dataset, seeds: int) -> np.ndarray:
    """How far, in standard errors, any unit's mean over many masks is from what it gives without, for each seed."""
    network = MLP((dataset.features, UNITS, dataset.outputs))
    furthest = np.zeros(seeds)
    for seed in range(seeds):
        keys = make_keys(seed)
        params = network.init(keys.init).params
        digit = jnp.asarray(dataset.test.x[seed % len(dataset.test.y)].reshape(1, -1) / 255, jnp.float32)
        whole = np.asarray(network.activations(params, digit)[0][0], float)
        on = whole > 0
        for rate in LAYER_RATES:
            dropping = replace(network, dropout=(rate,))
            dropped = dropping.activations(params, digit.repeat(MASKS, axis=0), keys.dropout)[0]
            off = np.asarray(dropped, float).mean(axis=0)[on] / whole[on] - 1
            furthest[seed] = max(furthest[seed], np.abs(off).max() / math.sqrt(rate / (1 - rate) / MASKS))
    return furthest


def least_squares(seeds: int) -> Linear:
    """Every seed's own problem, solved over all masks, and in closed form."""
    kept = np.array([*itertools.product((0.0, 1.0), repeat=INPUTS)])
    scales = np.geomspace(0.1, 10, INPUTS)
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x = (rng.normal(size=(EXAMPLES, 1)) + rng.normal(size=(EXAMPLES, INPUTS))) * scales
        y = x @ (rng.normal(1, 1, INPUTS) / scales) + rng.normal(size=EXAMPLES)
        anywhere, size = rng.normal(size=INPUTS) / scales, np.sqrt(np.mean(x**2, axis=0))
        for rate in LINEAR_RATES:
            probability = np.prod(np.where(kept == 1, 1 - rate, rate), axis=1)
            masked = x * kept[:, None] / (1 - rate)
            mean_loss = probability @ np.mean((y - masked @ anywhere) ** 2, axis=1) / 2
            penalised = np.mean((y - x @ anywhere) ** 2) / 2 + ridge_of_dropout(x, rate) @ anywhere**2 / 2
            root = np.sqrt(probability)[:, None]
            rows, targets = (masked * root[..., None]).reshape(-1, INPUTS), (root * y).ravel()
            by_masks = np.linalg.lstsq(rows, targets, rcond=None)[0]
            by_ridge = ridge_fit(x / size, y, rate / (1 - rate))
            found.append((size * by_masks, by_ridge, abs(mean_loss / penalised - 1)))
    columns = [np.array(column) for column in zip(*found, strict=True)]
    return Linear(*(column.reshape(seeds, len(LINEAR_RATES), *column.shape[1:]) for column in columns))


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far weights are apart at any rate, relative to their length, of each seed."""
    return np.asarray((np.linalg.norm(one - other, axis=-1) / np.linalg.norm(other, axis=-1)).max(axis=-1))


def rank_correlation(gap: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Spearman's of gap and gain over widths and times, averaged over the rates, of each seed."""
    _, rates, seeds, _ = gain.shape
    found = [
        [scipy.stats.spearmanr(gap[:, seed].ravel(), gain[:, rate, seed].ravel()).statistic for rate in range(rates)]
        for seed in range(seeds)
    ]
    return np.asarray(np.mean(found, axis=1))


def beside_zero(relation: str, source: str, settles: str = "") -> dict[str, Any]:
    """On which side of 0 something is claimed to be."""
    return {"published": 0, "relation": relation, "source": source, "settles": settles}


def points(name: str, one: np.ndarray, other: np.ndarray, stated: dict[str, Any] | None = None) -> Claim:
    """How many points one is above the other, of the same seeds."""
    return Claim.difference(name, one, other, unit="points", **(stated or {}))


def claims_of_published(found: dict[str, np.ndarray], published: bool) -> list[Claim]:
    """Accuracies beside the published ones, and what dropout is worth to either network with either training."""
    claims = []
    for split, figures in ACCURACY.items():
        for errors, figure, which in zip(found[split][0, 0], figures, ("without", "with"), strict=True):
            what, accuracy = f"course as published: {split} accuracy {which} dropout", 100 - errors
            claims.append(
                Claim.reproduces(what, accuracy, unit="%", published=figure, last_digit=0.01, source=NOTEBOOK)
                if published
                else Claim.mean(what, accuracy, unit="%")
            )
    limit: Any = {"published": 1.8, "relation": "at most", "source": TABLE} if published else {}
    claims.append(Claim.mean("ISLR as published: test error with dropout", found["test"][1, 1, 1], unit="%", **limit))
    stated = {
        (0, 0): beside_zero("below", NOTEBOOK, "Dropout costs the course's small network accuracy."),
        (1, 1): beside_zero("above", ESSENTIAL),
    }
    for place in np.ndindex(2, 2):
        where = f"{[*NETWORKS][place[0]]} network, {[*TRAININGS][place[1]]} training"
        without, dropped = found["test"][place]
        gap = without - found["train"][place][0]
        claims += [
            points(f"{where}: {ABOVE}", without, dropped, stated.get(place) if published else None),
            Claim.mean(f"{where}: test above train error, without dropout", gap, unit="points"),
        ]
    gain = found["test"][:, :, 0] - found["test"][:, :, 1]
    return [
        *claims,
        points("gain by dropout, in ISLR's network above the course's", *gain.mean(axis=1)[::-1]),
        points("gain by dropout, in ISLR's training above the course's", *gain.mean(axis=0)[::-1]),
    ]


def claims_of_map(cells: Map) -> list[Claim]:
    """Whether dropout helps where a network overfits."""
    widths, rates, times, error, gap = cells
    gain, chosen = gains(error), rates.index(RATE)
    overfit = "Over widths and times of training, dropout gains most where the network overfits most without it."
    width = "Of networks of several widths, trained alike, dropout gains most in those that overfit most without it."
    wider = "Of two networks, trained alike, dropout gains more in the wider one."
    ranks, last = "map: rank correlation of what dropout gains, and overfitting without it", f"after {times[-1]} epochs"
    at_last = rank_correlation(gap[..., -1:], gain[..., -1:])
    stated = {(0, 0): beside_zero("below", OURS), (len(widths) - 1, len(times) - 1): beside_zero("above", PAPER)}
    return [
        Claim.mean(ranks, rank_correlation(gap, gain), **beside_zero("above", PAPER, overfit)),
        Claim.mean(f"{ranks}, over widths alone {last}", at_last, **beside_zero("above", PAPER, width)),
        points(
            f"map, {last}: gain by dropout {RATE:g}, {widths[-1]} units above {widths[0]}",
            *gain[[-1, 0], chosen - 1, :, -1],
            beside_zero("above", OURS, wider),
        ),
        *(
            points(
                f"map, {widths[row]} units, {times[column]} epochs: {ABOVE} {RATE:g}",
                *error[row, [0, chosen], :, column],
                stated.get((row, column)),
            )
            for row, column in np.ndindex(len(widths), len(times))
        ),
    ]


def claims_of_theory(furthest: np.ndarray, linear: Linear) -> list[Claim]:
    """What is exact: the expectation of a layer, and ridge; and what ridge does to the weights."""
    alike = apart(linear.by_masks, linear.by_ridge)
    loss = f"least squares: mean loss over all masks within {AGREE:.0e} of the loss with the ridge"
    minimiser = f"least squares: its minimiser within {AGREE:.0e} of ridge's closed form"
    mean = f"layer: mean of every unit over {MASKS:,} masks within {ERRORS} standard errors of the unit without dropout"
    told = "Linear regression with dropout of its inputs is ridge regression, mean loss and minimiser alike."
    spread, half = linear.by_masks.std(axis=2), np.argmin(np.abs(LINEAR_RATES - HALF))
    closer = f"least squares: spread of the weights, without dropout above with {HALF:g}"
    return [
        Claim.every(mean, furthest <= ERRORS, source=DECK, theorem=True),
        Claim.every(loss, linear.loss_off.max(axis=1) <= AGREE, source=RIDGE, theorem=True),
        Claim.every(minimiser, alike <= AGREE, source=DECK, theorem=True, settles=told),
        Claim.difference(closer, spread[:, 0], spread[:, half], **beside_zero("above", DECK)),
    ]


def claims_of_both(error: np.ndarray) -> list[Claim]:
    """What dropout and early stopping are worth alone and together; `error` as of `train_both`."""
    (plain, stopped), (dropout, both) = error
    less = "Where there is dropout already, early stopping gains less."
    named = {"neither": plain, "early stopping": stopped, "dropout": dropout, "both": both}
    gain = "together: gain by early stopping, without dropout above with"
    return [
        *(Claim.mean(f"together, {name}: test error", values, unit="%") for name, values in named.items()),
        points("together: test error, neither above dropout", plain, dropout, beside_zero("above", PAPER)),
        points("together: test error, neither above early stopping", plain, stopped, beside_zero("above", L09)),
        points("together: test error, early stopping above both", stopped, both),
        points("together: test error, dropout above both", dropout, both),
        points(gain, plain - stopped, dropout - both, beside_zero("above", OURS, less)),
    ]


def mark(axes: Axes, x: float, values: np.ndarray, colour: str, marker: str = "o", label: str = "") -> None:
    """The mean over seeds with its interval."""
    low, mean, high = (end.item() for end in mean_band(values[:, None]))
    axes.errorbar(x, mean, [[mean - low], [high - mean]], fmt=marker, color=colour, ms=8, capsize=5, label=label)


@mpl.rc_context(STYLE)
def draw(found: dict[str, np.ndarray], cells: Map, linear: Linear, error: np.ndarray, published: bool) -> Figure:
    """What dropout gains where; gain against overfitting; least squares; dropout with early stopping."""
    figure = Figure(figsize=(22, 5.6))
    own, scatter, line, both = figure.subplots(1, 4)
    labels = []
    for place, (row, column) in enumerate(np.ndindex(2, 2)):
        gain = found["test"][row, column, 0] - found["test"][row, column, 1]
        own.plot(np.full(len(gain), place - 0.15), gain, "_", color=BLUE, ms=10, mew=1.2)
        mark(own, place, gain, BLUE)
        labels.append(f"{[*NETWORKS][row]} net,\n{[*TRAININGS][column]}\ntraining")
    if published:
        one_run = ACCURACY["test"][1] - ACCURACY["test"][0]
        own.plot(0.2, one_run, "D", color=VERMILLION, mfc="none", ms=10, mew=2)
        own.annotate("published,\none run", (0.2, one_run), (10, -8), textcoords="offset points", fontsize=11)
    own.set_xticks(range(4), labels, fontsize=11)
    own.set(
        xlabel="network and training", ylabel="gain by dropout (points of test error)", title="as published or crossed"
    )
    for row, (width, colour) in enumerate(zip(cells.widths, COLOURS, strict=False)):
        scatter.plot([], [], "o", color=colour, label=f"{width} units")
        for column, marker in enumerate("osD"[: len(cells.times)]):
            values = gains(cells.error)[row, cells.rates.index(RATE) - 1, :, column]
            mark(scatter, cells.gap[row, :, column].mean(), values, colour, marker)
    for time, marker in zip(cells.times, "osD", strict=False):
        scatter.plot([], [], marker, color="black", mfc="none", label=f"{time} epochs")
    scatter.set_yscale("symlog", linthresh=1)
    scatter.yaxis.set_major_formatter("{x:g}")
    scatter.set(xlabel="validation above training loss\nwithout dropout (nats)", title=f"mnist5k, dropout {RATE:g}")
    scatter.set_ylabel("gain by dropout (points of test error)")
    scatter.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=11, handletextpad=0.2)
    for axes in (own, scatter):
        axes.axhline(0, color="black", lw=1)
    line.plot(LINEAR_RATES, linear.by_ridge[0], color=BLUE, lw=1.5)
    line.plot(LINEAR_RATES, linear.by_masks[0], "o", color=ORANGE)
    line.plot([], [], "o", color=ORANGE, label=f"dropout: over all {2**INPUTS} masks")
    line.plot([], [], color=BLUE, label="ridge: closed form")
    line.margins(y=0.2)
    line.set(xlabel="rate", ylabel="weight times its input's size", title="least squares, seed 0")
    for row, (name, colour) in enumerate((("no dropout", VERMILLION), (f"dropout {HALF:g}", BLUE))):
        both.plot(np.arange(2) + 0.1 * row, error[row].mean(axis=1), color=colour, lw=1)
        for column in range(2):
            mark(both, column + 0.1 * row, error[row, column], colour, label="" if column else name)
    both.margins(y=0.3)
    both.set_xticks([0.05, 1.05], ["to the end", "stopped by patience"])
    both.set(xlabel="training", ylabel="test error (%)", title=f"{100 * WRONG:g} % wrong labels", xlim=(-0.4, 1.5))
    for axes in (line, both):
        axes.legend(loc="upper right")
    figure.suptitle("mean over seeds with its 95 % interval; on the left also every seed", fontsize=12)
    return figure


@mpl.rc_context(STYLE)
def draw_map(cells: Map) -> Figure:
    """What every rate gains at every width, one panel for each number of epochs."""
    gain = gains(cells.error).mean(axis=2)
    most = np.abs(gain).max()
    figure = Figure(figsize=(5 * len(cells.times), 4.4))
    panels = figure.subplots(1, len(cells.times), squeeze=False)[0]
    for column, (axes, time) in enumerate(zip(panels, cells.times, strict=True)):
        shown = axes.imshow(gain[..., column], cmap="PuOr", norm=SymLogNorm(0.5, vmin=-most, vmax=most), aspect="auto")
        for (row, place), value in np.ndenumerate(gain[..., column]):
            axes.text(place, row, f"{value:+.2f}", ha="center", va="center", bbox={"fc": "white", "lw": 0, "pad": 2})
        axes.set_xticks(range(len(cells.rates) - 1), [f"{rate:g}" for rate in cells.rates[1:]])
        axes.set_yticks(range(len(cells.widths)), [f"{width}" for width in cells.widths])
        axes.set(xlabel="rate of dropout", ylabel="units in either hidden layer", title=f"after {time} epochs")
        axes.grid(False)
    ticks = [sign * size for sign in (-1, 1) for size in (0, 0.5, 2, 10, 50) if size <= most]
    figure.colorbar(shown, ax=panels, ticks=ticks, format="{x:g}", label="gain by dropout\n(points of test error)")
    return figure


def settle(
    full: Dataset, few: Dataset, grid: tuple[Any, Any, Any], part: int, seeds: int, out: Path, published: bool
) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, the map over widths, rates and times, for 1 / part of the epochs; draw the figures; claim."""
    if seeds < 2:
        raise UserError(f"--seeds {seeds}: give at least 2; one does not tell how far they lie apart")
    half = max(2, seeds // 2)
    found, cells = train_published(full, part, half, out), train_map(few, *grid, half, out)
    error = train_both(few, cells.widths[-1], EPOCHS // part, half, out)
    means, linear = layer_means(few, seeds), least_squares(seeds)
    (out / "dropout.png").write_bytes(png(draw(found, cells, linear, error, published)))
    (out / "dropout_map.png").write_bytes(png(draw_map(cells)))
    shutil.rmtree(out / "checkpoints")
    claims = [
        *claims_of_published(found, published),
        *claims_of_map(cells),
        *claims_of_theory(means, linear),
        *claims_of_both(error),
    ]
    config = {
        "examples": len(full.train.y),
        "map: mean gain in points, by width, rate and epochs": gains(cells.error).mean(axis=2).round(3).tolist(),
        "map: validation above training loss, by width and epochs": cells.gap.mean(axis=1).round(4).tolist(),
        "notes": NOTES,
    }
    return claims, config


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on mnist5k, of which nothing was published."""
    few = load("mnist5k")
    if quick:
        return settle(few, few, (WIDTHS[:2], RATES[::2], (5, 20)), 3, seeds, out, published=False)
    return settle(load_mnist(data), few, (WIDTHS, RATES, TIMES), 1, seeds, out, published=True)


if __name__ == "__main__":
    shared = "MNIST's own split, 10,000 test digits; one split of mnist5k, 1,000 test digits, one draw of wrong labels"
    run_experiment("dropout", __doc__, body, full_seeds=16, quick_seeds=3, needs=MNIST, shared=shared)
