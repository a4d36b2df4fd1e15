"""Lottery tickets: can a twelfth of a network's weights, alone from the same start, learn more than all of them?

Claims: a dense network holds a ticket, a few of its weights that learn as well alone; it is found by pruning small
weights after training, and it needs its own start. Source: Frankle and Carbin, arXiv:1803.03635. On MNIST-1D the ticket
generalises better, also from another start, since its mask has learned that neighbouring inputs belong together:
Greydanus and Kobak, arXiv:2011.14439, and their repository, notebooks/lottery-tickets.ipynb, two trials, about an hour.

Protocol, the notebook's: MNIST-1D, 4,000 examples to train on and 1,000 to test; 40-500-500-10, ReLU, the second hidden
layer added to the first, PyTorch's start; Adam at 0.02, batch 100. In each layer, biases too, the weights that are
smallest after 1,000 steps are dropped, the others put back to their start, and all is trained again. (The notebook
trains for 1,501 steps and prunes the copy that it kept at 1,000.) Accuracy is that at the end, in its 100 prunings and
here.

Ours differs: 38 shuffled epochs, 1,520 steps, where it has 1,501 in one fixed order; and each pruning takes 20 % of
what is left, 11 of them to the notebook's 91.9 %, where it drops 1 % of all weights, 91 times. Half of the seeds take
twice as many steps, too, to see whether that matters. Random masks keep as many weights of each layer. Another start is
a new draw, trained in the same order of examples. Under that the mask's inputs are also shuffled, by each seed in its
own way, or reversed.

Of the notebook: its arms do not share their starts, as its `set_seed` leaves PyTorch's generator alone. So its dense
networks differ (66.4 and 64.8, 60.6 and 61.4 %), and are four draws of one figure. All its later runs put the masks on
newly drawn networks; what it calls the ticket there has another start already, and is 0.7 to 2.6 points above the dense
network, not 10. Its count of four neighbours takes the fourth from the random mask.

Command: python experiments/lottery_tickets.py
Wall time on two cores: 28 minutes for 616 networks, with tests and trials beside it: 2.7 s a network; an hour for the
400 of the notebook is 9 s. --quick 30 s.

Expected: the published figures, with intervals. The ticket of 8.1 % of the weights has 74.5 % right, the dense network
65.0 % (the notebook's two lower runs are out of its reach), random masks 61.6 %; in every seed the ticket is above the
dense network, by 9.4 points. Where its mask starts anew it is still 6.5 points above, which the notebook's own runs do
not show as clearly; its own start is worth 3.0 points there and 6.4 at 96.8 % sparse, and none at 60 and 84 %. Its
units keep neighbouring inputs together, and with its inputs shuffled the mask loses 4.0 points. Pruned at once it is no
better than the dense network; twice as many steps change nothing that 8 seeds can show.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, PyTree
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from mlpjax import (
    MLP,
    Dataset,
    Functions,
    Recipe,
    Split,
    Task,
    UserError,
    Variables,
    make_keys,
    make_task,
    masked,
    progress_bar,
    train_many,
)
from mlpjax.claims import Claim, run_experiment
from mlpjax.data.dataset import without_validation
from mlpjax.data.generated import make_mnist1d
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

TARGET = 91 / 99
"""Share of the weights that the notebook has dropped where it looks closely."""
OTHER_STARTS = 10_000
"""A seed's other start is that of the seed so much further."""
DENSE, TICKET, RANDOM, NEW = "dense", "ticket", "random mask", "ticket's mask, another start"
SHUFFLED, REVERSED = f"{NEW}, inputs shuffled", f"{NEW}, inputs reversed"
ONE_SHOT, FINER = "pruned at once", "pruned in twice as many steps"
PUBLISHED = {TICKET: (75.6, 74.4), RANDOM: (60.6, 61.8), DENSE: (66.4, 64.8, 60.6, 61.4)}
"""Accuracies, in %, of the notebook's runs; those of the dense networks are of both its arms."""
COLOURS = {TICKET: BLUE, NEW: GREEN, RANDOM: VERMILLION}
FRANKLE, GREYDANUS = "arXiv:1803.03635", "arXiv:2011.14439"
NOTEBOOK = "MNIST-1D's repository, notebooks/lottery-tickets.ipynb"
EXISTS = (
    "A dense network holds a ticket: a twelfth of its weights that, trained alone from the same start, does better."
)
CHOSEN = "A lottery ticket is more accurate than as many of the network's weights taken at random."
ITS_START = "At 92 % sparse a ticket needs its own start: the same mask with other starting weights is less accurate."
TRANSFERS = "The ticket's mask with other starting weights is still more accurate than the dense network."
LOCAL = "Pruning finds the order of the inputs: a unit of the ticket keeps neighbouring inputs together."
ORDER = "With its inputs shuffled the ticket's mask, from other starting weights, is less accurate."
NEAR = 5
"""Inputs at most so far apart are near each other, by two networks of other seeds."""


class Size(NamedTuple):
    """How much of it all is trained."""

    hidden: int
    epochs: int
    prune_after: int
    """Epochs after which the small weights are chosen."""
    steps: int
    """Prunings to the target."""
    beyond: int
    """Prunings after it."""
    compared: Sequence[int]
    """Prunings after which the ticket is held against other masks and starts."""


FULL = Size(hidden=500, epochs=38, prune_after=25, steps=11, beyond=4, compared=(4, 8, 11, 15))
QUICK = Size(hidden=100, epochs=12, prune_after=8, steps=6, beyond=1, compared=(3, 6))


class Found(NamedTuple):
    """Where networks ended, under masks."""

    mask: PyTree
    """[networks, ...], in the form of the parameters."""
    accuracy: np.ndarray
    """On the test examples, in %, [networks]."""
    fit: np.ndarray
    """On the training examples, in %, [networks]."""
    diverged: np.ndarray
    early: PyTree
    """The parameters by which weights are dropped."""

    def pick(self, rows: slice) -> "Found":
        """Some of the networks."""
        return jax.tree.map(lambda leaf: leaf[rows], self)


@functools.cache
def network(hidden: int) -> Functions:
    """The notebook's: a_1 = relu(x W_1 + b_1), a_2 = a_1 + relu(a_1 W_2 + b_2), logits a_2 W_3 + b_3."""
    drawn = MLP((40, hidden, hidden, 10), initializer="torch", bias="same")

    def apply(variables: Variables, x: Array, key: Array | None = None) -> tuple[Array, PyTree]:
        del key
        first, second, output = (variables.params[f"dense_{layer}"] for layer in range(3))
        x = jax.nn.relu(x @ first["kernel"] + first["bias"][None])
        x = x + jax.nn.relu(x @ second["kernel"] + second["bias"][None])
        return x @ output["kernel"] + output["bias"][None], variables.stats

    return Functions(drawn.init, apply)


def starts(hidden: int, seeds: Sequence[int]) -> PyTree:
    """The parameters that networks of these seeds start with, [seeds, ...]."""
    draw = jax.vmap(lambda seed: network(hidden).init(make_keys(seed).init, jnp.zeros((1, 40))).params)
    return jax.tree.map(np.asarray, draw(np.asarray(seeds, np.int32)))


def mnist1d() -> Dataset:
    """The notebook's 4,000 examples to train on and 1,000 to test."""
    return without_validation(make_mnist1d())


def masked_task(model: Functions, recipe: Recipe, train: Split, mask: PyTree) -> Task:
    """Each network has a mask of its own."""
    return masked(make_task(model, recipe, train), mask)


def train(
    size: Size,
    dataset: Dataset,
    seeds: Sequence[int],
    start: PyTree,
    mask: PyTree,
    on_progress: Callable[[int, int], None],
) -> Found:
    """Train networks under their masks; a seed says in what order examples come."""
    epochs, after = size.epochs, size.prune_after
    recipe = Recipe(learning_rate=0.02, batch_size=100, epochs=epochs, eval_every=epochs)
    trained = train_many(
        network(size.hidden),
        recipe,
        dataset,
        seeds,
        task=masked_task,
        own=mask,
        start=start,
        snapshots=(after,),
        on_progress=on_progress,
    )
    accuracy, fit = (100 - trained.error(split)[:, -1] for split in ("test", "train"))
    early = jax.tree.map(lambda leaf: leaf[:, 0], trained.snapshots)
    return Found(mask, accuracy, fit, trained.diverged, early)


def keep_largest(scores: PyTree, sparsity: float) -> PyTree:
    """Drop the smallest scores of every layer, its biases among them: int(sparsity * all of the layer's).

    Args:
        scores: [networks, ...], in the form of the parameters.
        sparsity: share that is dropped, in [0, 1).
    """
    mask = {}
    for name, layer in scores.items():
        networks, inputs, units = layer["kernel"].shape
        flat = np.concatenate([layer["kernel"].reshape(networks, -1), layer["bias"]], axis=1)
        kept = np.ones(flat.shape, bool)
        smallest = np.argsort(flat, axis=1, kind="stable")[:, : int(sparsity * flat.shape[1])]
        np.put_along_axis(kept, smallest, values=False, axis=1)
        kernel, bias = np.split(kept, [inputs * units], axis=1)
        mask[name] = {"kernel": kernel.reshape(networks, inputs, units), "bias": bias}
    return mask


def sparsities(steps: int, beyond: int = 0) -> list[float]:
    """Share of the weights that is dropped before each training; the target after so many equal steps."""
    return [1 - (1 - TARGET) ** (step / steps) for step in range(steps + beyond + 1)]


def find_tickets(
    what: str, size: Size, dataset: Dataset, seeds: Sequence[int], schedule: Sequence[float]
) -> list[Found]:
    """Iterative magnitude pruning: train, drop the smallest weights, rewind the others to their start, train again.

    Args:
        what: the bar's name.
        size: what is trained.
        dataset: what is learned.
        seeds: of the networks.
        schedule: the sparsity of each training, rising from 0.

    Returns:
        Where the networks of each sparsity ended.
    """
    start = starts(size.hidden, seeds)
    found: list[Found] = []
    scores = start
    with progress_bar(what, "networks") as on_progress:
        for place, sparsity in enumerate(schedule):

            def on_round(done: int, total: int, place: int = place) -> None:
                on_progress(place * len(seeds) + done * len(seeds) // total, len(schedule) * len(seeds))

            found.append(train(size, dataset, seeds, start, keep_largest(scores, sparsity), on_round))
            # Weights that are dropped stay at their start beneath the mask: they must not be taken up again.
            scores = jax.tree.map(lambda weights, kept: abs(weights) * kept, found[-1].early, found[-1].mask)
    return found


def random_mask(like: PyTree, seeds: Sequence[int], sparsity: float) -> PyTree:
    """As many weights of each layer, drawn by each seed."""
    rngs = [np.random.default_rng((seed, round(1e6 * sparsity))) for seed in seeds]
    scores = jax.tree.map(lambda leaf: np.stack([rng.random(leaf.shape[1:]) for rng in rngs]), like)
    return keep_largest(scores, sparsity)


def reorder_inputs(mask: PyTree, orders: np.ndarray) -> PyTree:
    """The masks on inputs in another order, [networks, inputs]."""
    kernel = np.take_along_axis(mask["dense_0"]["kernel"], orders[:, :, None], axis=1)
    return mask | {"dense_0": mask["dense_0"] | {"kernel": kernel}}


def hold_against(
    size: Size, dataset: Dataset, seeds: Sequence[int], tickets: Sequence[Found]
) -> dict[str, dict[int, Found]]:
    """Other masks and other starts, by what they are and after how many prunings."""
    own, other = (starts(size.hidden, [seed + shift for seed in seeds]) for shift in (0, OTHER_STARTS))
    schedule, at = sparsities(size.steps, size.beyond), size.steps
    inputs = tickets[at].mask["dense_0"]["kernel"].shape[1]
    shuffles = np.stack([np.random.default_rng(seed).permutation(inputs) for seed in seeds])
    mask, backwards = tickets[at].mask, np.tile(np.arange(inputs)[::-1], (len(seeds), 1))
    asked = {(RANDOM, step): (own, random_mask(own, seeds, schedule[step])) for step in size.compared}
    asked |= {(NEW, step): (other, tickets[step].mask) for step in size.compared}
    asked |= {
        (SHUFFLED, at): (other, reorder_inputs(mask, shuffles)),
        (REVERSED, at): (other, reorder_inputs(mask, backwards)),
        (ONE_SHOT, at): (own, keep_largest(jax.tree.map(abs, tickets[0].early), schedule[at])),
    }
    start, masks = (
        jax.tree.map(lambda *rows: np.concatenate(rows), *trees) for trees in zip(*asked.values(), strict=True)
    )
    with progress_bar("other masks and starts", "networks") as on_progress:
        all_found = train(size, dataset, [*seeds] * len(asked), start, masks, on_progress)
    found: dict[str, dict[int, Found]] = {}
    for place, (what, step) in enumerate(asked):
        found.setdefault(what, {})[step] = all_found.pick(slice(place * len(seeds), (place + 1) * len(seeds)))
    return found


def neighbours_kept(kept: np.ndarray) -> np.ndarray:
    """Share of the pairs of neighbouring inputs that a unit keeps both of, in %, [networks].

    Args:
        kept: of the first layer's weights, [networks, inputs, units].
    """
    return 100 * (kept[:, 1:] & kept[:, :-1]).mean(axis=(1, 2))


def correlogram(kept: np.ndarray) -> np.ndarray:
    """How inputs that lie d apart are kept together: r_d = mean_i cov(m_i, m_(i+d)) / mean_i var(m_i) over the units.

    An input that many units keep, or few, has no part in it; nor has the order of inputs in the mean over all pairs.

    Args:
        kept: of the first layer's weights, [networks, inputs, units].

    Returns:
        r_d for d = 1 up to one less than there are inputs, [networks, distances].
    """
    centred = kept - kept.mean(axis=2, keepdims=True)
    covariance = np.einsum("niu,nju->nij", centred, centred) / kept.shape[2]
    variance = np.einsum("nii->ni", covariance).mean(axis=1)
    means = [np.diagonal(covariance, d, axis1=1, axis2=2).mean(axis=1) for d in range(1, kept.shape[1])]
    return np.stack(means, axis=1) / variance[:, None]


def over_pairs(correlations: np.ndarray, nearest: int, furthest: int) -> np.ndarray:
    """Mean of a correlogram over all pairs of inputs so far apart, [networks]."""
    distances = np.arange(nearest, furthest + 1)
    pairs = correlations.shape[1] + 1 - distances
    return np.average(correlations[:, distances - 1], axis=1, weights=pairs)


def above_zero(source: str, settles: str = "", unit: str = "points") -> Any:
    """That a difference is above 0."""
    return {"published": 0, "relation": "above", "source": source, "settles": settles, "unit": unit}


def percent(sparsity: float) -> str:
    """A sparsity as claims name it."""
    return f"{100 * sparsity:.1f} % sparse"


def accuracy_claims(
    size: Size, tickets: Sequence[Found], others: Mapping[str, Mapping[int, Found]], among: np.ndarray
) -> list[Claim]:
    """The published accuracies beside ours, and what a ticket is worth."""
    schedule, at = sparsities(size.steps, size.beyond), size.steps
    dense, ticket = tickets[0].accuracy, tickets[at].accuracy
    ends = {name: rounds[at].accuracy for name, rounds in others.items()}
    where = percent(schedule[at])
    claims = []
    for name, values in ({TICKET: ticket, DENSE: dense} | ends).items():
        called = f"{name}: accuracy" if name == DENSE else f"{name}, {where}: accuracy"
        runs = PUBLISHED.get(name, ()) if size == FULL else ()
        claims += [
            Claim.reproduces(f"{called}, beside published run {number}", values, unit="%", among=among, published=run,
                last_digit=0.1, source=NOTEBOOK)
            for number, run in enumerate(runs, 1)
        ] or [Claim.mean(called, values, unit="%", among=among)]  # fmt: skip
    comparisons = [
        (TICKET, ticket, RANDOM, ends[RANDOM], above_zero(NOTEBOOK, CHOSEN)),
        (TICKET, ticket, NEW, ends[NEW], above_zero(FRANKLE, ITS_START)),
        (TICKET, ticket, ONE_SHOT, ends[ONE_SHOT], above_zero(FRANKLE)),
        (NEW, ends[NEW], DENSE, dense, above_zero(GREYDANUS, TRANSFERS)),
        (NEW, ends[NEW], RANDOM, ends[RANDOM], above_zero(NOTEBOOK)),
        (NEW, ends[NEW], SHUFFLED, ends[SHUFFLED], above_zero(GREYDANUS, ORDER)),
        (REVERSED, ends[REVERSED], SHUFFLED, ends[SHUFFLED], above_zero(NOTEBOOK)),
    ]
    claims += [
        Claim.every(f"{where}: ticket more accurate than dense", ticket > dense, among=among, source=FRANKLE,
            settles=EXISTS),
        Claim.difference(f"{where}: accuracy, ticket above dense", ticket, dense, among=among, **above_zero(NOTEBOOK)),
    ]  # fmt: skip
    claims += [
        Claim.difference(f"{where}: accuracy, {one} above {other}", values, than, among=among, **stated)
        for one, values, other, than, stated in comparisons
    ]
    for step in sorted({*size.compared} - {at}):
        own = tickets[step].accuracy
        rivals = {DENSE: dense} | {name: others[name][step].accuracy for name in (RANDOM, NEW)}
        for name, than in rivals.items():
            stated = above_zero(FRANKLE) if name == NEW else {"unit": "points"}
            told = f"{percent(schedule[step])}: accuracy, ticket above {name}"
            claims.append(Claim.difference(told, own, than, among=among, **stated))
    best = 100 * np.array(schedule)[np.argmax([found.accuracy for found in tickets], axis=0)]
    return [*claims, Claim.median("sparsity at which the ticket is most accurate", best, unit="%", among=among)]


def step_claim(size: Size, finer: Found, ticket: Found, among: np.ndarray) -> Claim:
    """Whether twice as many steps to the target find another ticket."""
    few = len(finer.accuracy)
    return Claim.difference(
        f"{percent(TARGET)}: accuracy, pruned in {2 * size.steps} steps above {size.steps}",
        finer.accuracy,
        ticket.accuracy[:few],
        among=among[:few],
        unit="points",
    )


def local_claims(ticket: Found, random: Found, among: np.ndarray) -> list[Claim]:
    """Whether a unit keeps neighbouring inputs together."""
    own, other = (found.mask["dense_0"]["kernel"] for found in (ticket, random))
    correlations = correlogram(own)
    furthest = correlations.shape[1]
    where = percent(TARGET)
    told = f"{where}: correlation of what units keep,"
    return [
        Claim.difference(f"{where}: pairs of neighbouring inputs that a unit keeps, ticket above random mask",
            neighbours_kept(own), neighbours_kept(other), among=among, **above_zero(NOTEBOOK)),
        Claim.difference(f"{told} neighbouring inputs above all other pairs", over_pairs(correlations, 1, 1),
            over_pairs(correlations, 2, furthest), among=among, **above_zero(GREYDANUS, LOCAL, unit="")),
        Claim.difference(f"{told} inputs 1 to {NEAR} apart above those further apart",
            over_pairs(correlations, 1, NEAR), over_pairs(correlations, NEAR + 1, furthest), among=among,
            **above_zero(GREYDANUS, unit="")),
    ]  # fmt: skip


def band(axes: Axes, places: np.ndarray, values: np.ndarray, among: np.ndarray, **look: Any) -> None:
    """Mean over seeds [places, seeds] with its 95 % interval."""
    low, mean, high = mean_band(values[:, among].T)
    (line,) = axes.plot(places, mean, **look)
    axes.fill_between(places, low, high, color=line.get_color(), alpha=0.25, lw=0)


@mpl.rc_context(STYLE)
def draw(
    size: Size,
    tickets: Sequence[Found],
    finer: Found,
    others: Mapping[str, Mapping[int, Found]],
    among: np.ndarray,
) -> Figure:
    """Accuracy by the share of weights that is kept, at the target by what is kept, and what units keep together."""
    figure = Figure(figsize=(19, 6))
    curve, target, local = figure.subplots(1, 3, width_ratios=(1.2, 1, 1))
    schedule, at = sparsities(size.steps, size.beyond), size.steps
    kept = 100 * (1 - np.array(schedule))
    band(curve, kept, np.stack([found.accuracy for found in tickets]), among, color=BLUE, marker="o", label=TICKET)
    for name in (NEW, RANDOM):
        values = np.stack([others[name][step].accuracy for step in size.compared])
        band(curve, kept[[*size.compared]], values, among, color=COLOURS[name], marker="o", label=name)
    dense = tickets[0].accuracy[among].mean()
    curve.axhline(dense, color="black", ls="--", lw=1.2, label=DENSE)
    if size == FULL:
        for name, runs in PUBLISHED.items():
            colour, place = (COLOURS[name], kept[at]) if name != DENSE else ("white", kept[0])
            curve.plot([place] * len(runs), runs, "X", color=colour, mec="black", ms=10, zorder=3)
    curve.set(xscale="log", xlabel="weights kept (%)", ylabel="test accuracy (%)")
    curve.set_title("by weights kept" + "; crosses: published runs" * (size == FULL))
    curve.xaxis.set_major_locator(FixedLocator([100, 50, 20, 10, 5, 2]))
    curve.xaxis.set_minor_locator(NullLocator())
    curve.xaxis.set_major_formatter("{x:g}")
    curve.invert_xaxis()
    curve.legend()
    ends = {DENSE: tickets[0], TICKET: tickets[at], FINER: finer, ONE_SHOT: others[ONE_SHOT][at]}
    ends |= {name: others[name][at] for name in (NEW, REVERSED, SHUFFLED, RANDOM)}
    for place, (name, found) in enumerate(ends.items()):
        values = found.accuracy[among[: len(found.accuracy)]]
        (low,), (mean,), (high,) = mean_band(values[:, None])
        colour = COLOURS.get(name, "black")
        target.plot(values, np.full(len(values), place), "|", color=colour, alpha=0.4, ms=12)
        target.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour, capsize=4)
    target.set_yticks(range(len(ends)), [name.replace(", ", ",\n") for name in ends])
    target.invert_yaxis()
    target.set(xlabel="test accuracy (%)", ylabel="what is trained", title=f"{percent(schedule[at])}; ticks: seeds")
    for name, found, colour in ((TICKET, tickets[at], BLUE), (RANDOM, others[RANDOM][at], VERMILLION)):
        values = correlogram(found.mask["dense_0"]["kernel"]).T
        band(local, np.arange(1, len(values) + 1), values, among, color=colour, label=name)
    local.axhline(0, color="black", lw=1)
    local.set(xlabel="distance of two inputs", ylabel="correlation over units", title="inputs that units keep together")
    local.legend()
    figure.suptitle(f"mean over {among.sum()} seeds ({len(finer.accuracy)} in twice as many steps), 95 % intervals")
    return figure


def settle(size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train everything, draw the figure and state the claims."""
    if seeds < 4:
        raise UserError(f"--seeds {seeds}: give at least 4; half of them are pruned in twice as many steps, too")
    rate, begin = float32_rate(), time.perf_counter()
    dataset = mnist1d()
    tickets = find_tickets("tickets", size, dataset, range(seeds), sparsities(size.steps, size.beyond))
    others = hold_against(size, dataset, range(seeds), tickets)
    few = range(seeds // 2)
    (*_, finer) = find_tickets(FINER, size, dataset, few, sparsities(2 * size.steps))
    seconds = time.perf_counter() - begin
    groups = [*tickets, *(found for rounds in others.values() for found in rounds.values())]
    among = ~np.any([found.diverged for found in groups], axis=0)
    among[: len(few)] &= ~finer.diverged
    (out / "lottery_tickets.png").write_bytes(png(draw(size, tickets, finer, others, among)))
    networks = len(groups) * seeds + (2 * size.steps + 1) * len(few)
    operations = flops_per_example((40, size.hidden, size.hidden, 10)) * len(dataset.train.y) * size.epochs
    share = 100 * networks * operations / 1e9 / seconds / rate
    config = {
        "data": dataset.name,
        "networks": networks,
        "diverged": int((~among).sum()),
        "sparsities (%)": [round(100 * sparsity, 1) for sparsity in sparsities(size.steps, size.beyond)],
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "notes": [
            f"{networks:,} networks, {seconds / networks:.2f} s each: {operations / 1e9:,.0f} GFLOP in products, "
            f"{share:.0f} % of the machine's rate of {rate:.0f} GFLOP/s, dropped weights and compiling included.",
            "A seed of which any network diverged is left out.",
        ],
    }
    at = size.steps
    claims = accuracy_claims(size, tickets, others, among)
    claims += [step_claim(size, finer, tickets[at], among), *local_claims(tickets[at], others[RANDOM][at], among)]
    return claims, config


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    return settle(QUICK if quick else FULL, seeds, out)


if __name__ == "__main__":
    shared = "one set of examples of MNIST-1D"
    run_experiment("lottery_tickets", __doc__, body, full_seeds=16, quick_seeds=4, shared=shared)
