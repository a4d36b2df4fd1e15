"""Two trained networks, a barrier between them: is it there only because their units stand in another order?

Claim: permuting the hidden units of one network, by matching weights, takes the loss barrier on the straight line
between two MLPs on MNIST to about 0. Source: Ainsworth, Hayase and Srinivasa, Git Re-Basin, arXiv:2209.04836, figure 2
and section 5; ReLU, three hidden layers of 512, Adam 1e-3, batch 500. Their algorithm finds a planted permutation again
in three or four passes. Claim: without matching the barrier rises with the width, up to about the width that just fits
the data, and then falls. Source: Entezari, Sedghi, Saukh and Neyshabur, arXiv:2110.06296, section 3 and figure 2.

Barriers are measured in both of the literature's definitions: above the chord of the ends (Entezari et al., definition
2.1), and above their mean (Frankle et al., arXiv:1912.05671, section 2; Ainsworth et al.). Frankle et al. call two
networks connected where the error's barrier is below 2 points: that is the line drawn here for the error. "About 0" of
the loss is 0.02 nats, what can be read from the published figure.

Protocol: seeds 0 and 1 are a pair, 2 and 3, and so on, so that pairs are independent; every interval is over pairs, and
they are what the ledger counts as seeds. 784-512-512-512-10 on MNIST as published, 100 epochs, the first 10 seeds. The
loss on the line is taken at 25 points, as published, on every sixth training digit and all test digits. Weight matching
starts at the identity, without restarts, and differs from the published one in that both networks are balanced first
(ReLU units can be rescaled). Planted: a random permutation and rescaling of each network, to be found again, in these
and in untrained networks of 1, 3 and 8 hidden layers of 128 units. A pass goes over all layers in random order, and the
last one, which finds nothing to change, is counted, as in the authors' code.

Width: one hidden layer, as in the published figure for MNIST, of 2 to 512 units, trained to the end on few digits
(mnist5k, 3,500; Adam 1e-3, batch 100, 100 epochs) rather than briefly on many: the claim is about networks that fit.
The width that just fits is the narrowest whose mean train loss is at most 0.01, where Entezari et al. stop training
(they take all of MNIST and SGD): chosen by the fit alone, never by the barrier. Where the peak is, is told by every
pair: the width at which its own barrier is highest. How far the barrier rises to its peak and falls from it is
measured, for every pair, at the width where the other half of the pairs has its peak.

Command: python experiments/rebasin.py --data idx:DIR, where DIR holds the four files of MNIST in idx format, .gz or
not, or --data tfds:mnist; or set MLPJAX_MNIST to either. --quick takes mnist5k for both, of which nothing was
published.
Wall time on two cores: about 30 minutes (3,143 s with other work on the machine); --quick 45 s.

Expected: the barrier falls from 1.11 nats of train loss to 0.005, with an interval from 0.001 to 0.008 over 5 pairs,
and on the test loss from 0.95 to 0.006. That of the error falls from 29 points to 0.2 on the training digits, and from
26 to 0.3 on the others; before matching it is above 15 points for every pair, but so unlike from pair to pair (18 to
55) that 5 pairs leave its mean undecided. It takes the long training: after 5 epochs 0.045 nats were left after
matching, after 10 epochs 0.020; there rescaling made no difference (0.020 and 0.022 nats on two pairs, 0.022 and 0.025
with permutations alone). Planted elements are all found. With three hidden layers that takes two to three passes,
fewer than published: the layers next to the input and the output are found at once, and a layer between them as soon
as a neighbour is, so that the first pass finds all unless it begins in the middle (2 + 1/3 passes). The number grows
with the depth: 2 with one hidden layer, 3.7 with eight. Two trained networks, whose units have no exact partners, take
about 14. The barrier does rise with the width and then fall, but its peak, at 8 units, is two doublings below the width
that just fits, 32: it is highest where networks still fall a little short (train loss 0.1). After matching it only
falls, from 0.7 nats to 0.001.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, PyTree
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
    progress_bar,
    train_many,
)
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.mnist import load_mnist
from mlpjax.landscape.matching import match
from mlpjax.landscape.mode_connectivity import barrier, line
from mlpjax.landscape.symmetries import act, random_element
from mlpjax.report.figures import SPLIT_COLOURS, STYLE, png
from mlpjax.stats import mean_band
from mlpjax.typing import Params

T = np.linspace(0, 1, 25, dtype=np.float32)
LINE_EXAMPLES = 10_000
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
FITS = 0.01
"""Train loss (nats) at which Entezari et al., section 3, stop."""
DEEP_SEEDS = 10
"""Networks of three hidden layers, at most: 100 epochs on all of MNIST take the most time."""
DEPTHS = (1, 3, 8)
ABOUT_ZERO = 0.02
"""Nats, what can be read from Ainsworth et al., figure 2."""
CONNECTED = 2
"""Points, from Frankle et al., section 2."""
PUBLISHED_PASSES = (3, 4)
"""Ainsworth et al., section 3.2."""
AINSWORTH = "Ainsworth et al., arXiv:2209.04836, figure 2"
PASSES = "Ainsworth et al., arXiv:2209.04836, section 3.2"
FRANKLE = "Frankle et al., arXiv:1912.05671, section 2: below 2 points counts as connected"
ENTEZARI = "Entezari et al., arXiv:2110.06296, figure 2"
ONE_BASIN = (
    "Two independently trained networks lie in one basin once the hidden units of one are put in the order that suits "
    "the other: no barrier is left on the line between them."
)
NOTES = [
    "Networks of three hidden layers were first trained for 10 epochs: over 15 pairs the barrier of the train loss "
    "after matching was 0.0197 [0.0177, 0.0217] nats, and so undecided at 0.02. Now it is 100, as published.",
    "Of the published 'three or four passes' only 'at most four' was judged at first, and held with 2.43 [2.23, 2.67].",
]
SPLITS = ("train", "test")
WHEN = ("before", "after")


class Pairs(NamedTuple):
    """Networks in pairs and the loss between the two, before and after matching: arrays [pairs, points] by split."""

    loss: dict[str, dict[str, np.ndarray]]
    """In nats; by `before` or `after`, then by split."""
    error: dict[str, dict[str, np.ndarray]]
    """In %."""
    train_loss: np.ndarray
    """Of every network on all of its training data, in nats."""
    passes: np.ndarray

    def barriers(self, when: str, split: str, above: str, what: str = "loss") -> np.ndarray:
        """The barrier of every pair."""
        values = getattr(self, what)[when][split]
        return np.array([float(barrier(jnp.asarray(T), jnp.asarray(row), above)) for row in values])


def network(params: Params, index: int) -> Params:
    """One of many."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), params)


def thin(split: Split) -> Split:
    """At most LINE_EXAMPLES examples, evenly spaced."""
    step = -(-len(split.y) // LINE_EXAMPLES)
    return Split(split.x[::step], split.y[::step])


def compare(model: MLP, recipe: Recipe, dataset: Dataset, seeds: int) -> tuple[Pairs, Params]:
    """Train networks, match them in pairs, and look at the lines between; also the networks."""
    with progress_bar(f"{model.name}, training") as on_progress:
        trained = train_many(model, recipe, dataset, range(seeds), on_progress=on_progress)
    trained.require_finite()
    starts, ends = (jax.tree.map(lambda leaf, first=first: leaf[first::2], trained.params) for first in (0, 1))
    matches, matched = [], []
    for pair in range(seeds // 2):
        a, b = network(starts, pair), network(ends, pair)
        matches.append(match(model, a, b, jax.random.key(pair)))
        matched.append(jax.tree.map(np.asarray, act(matches[-1].element, b)))
    moved = jax.tree.map(lambda *leaves: np.stack(leaves), *matched)

    task = make_task(model, recipe, dataset.train)

    def walk(pair: tuple[Params, Params], splits: dict[str, Split]) -> Any:
        def look(params: Params) -> Any:
            return {name: evaluate(task, Variables(params), split) for name, split in splits.items()}

        return line(look, *pair, jnp.asarray(T))

    splits = {"train": thin(dataset.train), "test": thin(dataset.test)}
    found = {}
    for when, others in zip(WHEN, (ends, moved), strict=True):
        with progress_bar(f"{model.name}, lines {when} matching", "pairs") as on_progress:
            found[when] = map_seeds(walk, (starts, others), splits, chunk=1, on_progress=on_progress)
    loss = {when: {name: np.asarray(look["loss"], float) for name, look in found[when].items()} for when in WHEN}
    error = {
        when: {name: 100 * (1 - np.asarray(look["accuracy"], float)) for name, look in found[when].items()}
        for when in WHEN
    }
    passes = np.array([found.passes for found in matches])
    return Pairs(loss, error, trained.history["train_loss"][:, -1].astype(float), passes), trained.params


def planted(model: MLP, params: Params, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Match every network to itself moved by a random element: whether it is found, and in how many passes."""

    @jax.jit
    def plant(key: Array, params: Params) -> tuple[PyTree, Params]:
        element = random_element(key, model)
        return element, act(element, params)

    found, passes = [], []
    for seed in range(seeds):
        a = network(params, seed)
        element_key, match_key = jax.random.split(jax.random.key(seed))
        element, moved = plant(element_key, a)
        again = match(model, a, moved, match_key)
        # Unit j of the match is unit order[j] of the moved network, which was unit planted[order[j]] of this one.
        back = [
            np.asarray(units.order)[np.asarray(mine.order)] for units, mine in zip(element, again.element, strict=True)
        ]
        found.append(all((order == np.arange(len(order))).all() for order in back))
        passes.append(again.passes)
    return np.array(found), np.array(passes)


def claims_of_matching(
    group: str, pairs: Pairs, found: np.ndarray, passes: np.ndarray, published: bool = True
) -> list[Claim]:
    """Barriers before and after matching, and what became of planted elements; beside published figures, or not."""
    claims = []
    for when, split in itertools.product(WHEN, SPLITS):
        for above in ("chord", "mean"):
            zero = {
                "published": 0,
                "relation": "about",
                "tolerance": ABOUT_ZERO,
                "tolerance_source": "what can be read from the published figure",
                "source": AINSWORTH,
                "settles": ONE_BASIN * (split == "train"),
            }
            beside = zero if published and (when, above) == ("after", "mean") else {}
            name = f"{group}, {split} loss, barrier above the {above}, {when} matching"
            claims.append(Claim.mean(name, pairs.barriers(when, split, above), unit="nats", **beside))
        relation = {"before": "above", "after": "below"}[when]
        line = {"published": CONNECTED, "relation": relation, "source": FRANKLE} if published else {}
        name = f"{group}, {split} error, barrier above the mean, {when} matching"
        claims.append(Claim.mean(name, pairs.barriers(when, split, "mean", "error"), unit="points", **line))
        if when == "after":
            claims.append(
                Claim.difference(
                    f"{group}, {split} loss, barrier above the mean, before above after matching",
                    pairs.barriers("before", split, "mean"),
                    pairs.barriers("after", split, "mean"),
                    unit="nats",
                    **({"published": 0, "relation": "above", "source": AINSWORTH} if published else {}),
                )
            )
    three_or_four = {
        "published": sum(PUBLISHED_PASSES) / 2,
        "relation": "about",
        "tolerance": (PUBLISHED_PASSES[1] - PUBLISHED_PASSES[0]) / 2,
        "tolerance_source": "published: three or four",
        "source": PASSES,
    }
    return [
        *claims,
        Claim.share(f"{group}, planted elements found again", found),
        Claim.mean(f"{group}, passes to find them", passes, **(three_or_four if published else {})),
        Claim.mean(f"{group}, passes to match two networks", pairs.passes),
    ]


def claims_of_depth(features: int, classes: int, seeds: int) -> list[Claim]:
    """Whether planted elements are found again in untrained networks, and how their depth decides the passes."""
    claims, passes = [], {}
    for depth in DEPTHS:
        model = MLP((features, *[128] * depth, classes), initializer="lecun")
        draw = jax.jit(jax.vmap(lambda key, model=model: model.init(key).params))
        params = draw(jax.random.split(jax.random.key(0), seeds))
        found, passes[depth] = planted(model, params, seeds)
        group = f"untrained, {depth} x 128"
        claims += [
            Claim.every(f"{group}, planted elements found again", found, source=PASSES),
            Claim.mean(f"{group}, passes to find them", passes[depth]),
        ]
    name = f"passes to find planted elements, {DEPTHS[-1]} above {DEPTHS[0]} hidden layers"
    return [*claims, Claim.difference(name, passes[DEPTHS[-1]], passes[DEPTHS[0]], paired=False)]


def just_fits(losses: Sequence[np.ndarray]) -> int | None:
    """Place of the first width, from the narrowest, whose mean train loss is at most FITS; None if there is none."""
    return next((place for place, loss in enumerate(losses) if loss.mean() <= FITS), None)


def peaks_elsewhere(barriers: np.ndarray) -> np.ndarray:
    """For every pair the place of the width whose barrier is highest in the other half of the pairs.

    A peak chosen on the same pairs would stand out by its own noise. `barriers` is [widths, pairs].
    """
    half = np.arange(barriers.shape[1]) % 2
    return np.array([barriers[:, half != own].mean(axis=1).argmax() for own in half])


def claims_of_widths(widths: Sequence[int], found: Sequence[Pairs], published: bool = True) -> list[Claim]:
    """How the barrier before matching depends on the width, and where it is highest."""
    barriers = np.stack([pairs.barriers("before", "train", "chord") for pairs in found])
    what, rows = "one hidden layer, train loss, barrier above the chord", np.arange(barriers.shape[1])
    highest = barriers[peaks_elsewhere(barriers), rows]
    more = {"published": 0, "relation": "above", "source": ENTEZARI} if published else {}
    settles = "Without matching, the barrier between two networks first rises with their width and then falls."
    claims = [
        Claim.difference(
            f"{what}, before matching: {name}", highest, barriers[place], unit="nats", **more, settles=said
        )
        for name, place, said in (
            (f"rise from {widths[0]} units to the peak", 0, ""),
            (f"fall from the peak to {widths[-1]}", -1, settles),
        )
    ]
    peaks = np.log2(np.array(widths)[barriers.argmax(axis=0)])
    fits = just_fits([pairs.train_loss for pairs in found])
    near = {}
    if fits is not None and published:
        near = {
            "published": float(np.log2(widths[fits])),
            "relation": "about",
            "tolerance": 1,
            "tolerance_source": "ours: one step of the grid",
            "source": ENTEZARI,
            "settles": "The barrier is highest at about the width that just fits the data.",
        }
    claims.append(
        Claim.mean(f"{what}, before matching: units at the pair's own peak", peaks, unit="log2 units", **near)
    )
    for place, when in itertools.product(sorted({0, fits or 0, len(widths) - 1}), WHEN):
        values = found[place].barriers(when, "train", "chord")
        claims.append(Claim.mean(f"{what}, {when} matching: {widths[place]} units", values, unit="nats"))
    return claims


@mpl.rc_context(STYLE)
def draw_lines(pairs: Pairs) -> Figure:
    """Loss and error between two networks, before and after matching."""
    figure = Figure(figsize=(13, 5.2))
    panels = figure.subplots(1, 2)
    for axes, (what, label) in zip(panels, {"loss": "loss (nats)", "error": "error (%)"}.items(), strict=True):
        for when, dashes in zip(WHEN, ("--", "-"), strict=True):
            for split in SPLITS:
                low, mean, high = mean_band(getattr(pairs, what)[when][split])
                axes.plot(T, mean, color=SPLIT_COLOURS[split], ls=dashes, label=f"{split}, {when} matching")
                axes.fill_between(T, low, high, color=SPLIT_COLOURS[split], alpha=0.2, lw=0)
        axes.set(xlabel="share of the way from one network to the other", ylabel=label)
        axes.set_ylim(bottom=0)
    title = f"mean over {len(pairs.passes)} pairs of networks, and band of its 95 % interval"
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, title=title)
    return figure


@mpl.rc_context(STYLE)
def draw_widths(widths: Sequence[int], found: Sequence[Pairs]) -> Figure:
    """Barrier of the loss before and after matching, and final train loss, against the width."""
    figure = Figure(figsize=(17, 5.6))
    panels = figure.subplots(1, 3, sharex=True)

    def bars(axes: Any, values: Sequence[np.ndarray], aside: float, **style: Any) -> None:
        low, mean, high = mean_band(np.stack(values, axis=1))
        axes.errorbar(aside * np.array(widths), mean, [mean - low, high - mean], ms=6, capsize=4, **style)

    for axes, when in zip(panels, WHEN, strict=False):
        for split, dashes, marker, aside in zip(SPLITS, ("-", "--"), "so", (0.95, 1.05), strict=True):
            style = {"color": SPLIT_COLOURS[split], "ls": dashes, "marker": marker, "label": f"{split} loss"}
            bars(axes, [pairs.barriers(when, split, "chord") for pairs in found], aside, **style)
        axes.set(title=f"{when} matching", ylabel="barrier above the chord (nats)")
        axes.set_ylim(bottom=0)
    bars(panels[2], [pairs.train_loss for pairs in found], 1, color=SPLIT_COLOURS["train"], marker="s")
    panels[2].axhline(FITS, color="#777777", ls="--", label=f"{FITS:g} nats: fits the data")
    panels[2].set(title="each network", yscale="log", ylabel="train loss (nats)")
    fits = just_fits([pairs.train_loss for pairs in found])
    for axes in panels:
        axes.set(xscale="log", xlabel="units of the hidden layer")
        axes.set_xticks(widths, labels=map(str, widths))
        axes.minorticks_off()
        if fits is not None:
            axes.axvline(widths[fits], color="#777777", ls=":", label=f"{widths[fits]} units: fit just so")
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.suptitle(f"mean over {len(found[0].passes)} pairs of networks, and its 95 % interval")
    return figure


def settle(
    deep: Dataset,
    hidden: int,
    epochs: int,
    shallow: Dataset,
    widths: Sequence[int],
    shallow_epochs: int,
    seeds: int,
    out: Path,
    published: bool,
) -> tuple[list[Claim], dict[str, Any]]:
    """Both parts: three hidden layers, and one of many widths."""
    if seeds < 4 or seeds % 2:
        raise UserError(f"--seeds {seeds}: give an even number, at least 4; networks are compared in pairs")
    model = MLP((deep.features, *[hidden] * 3, deep.classes), initializer="lecun")
    recipe = Recipe(batch_size=min(500, len(deep.train.y)), epochs=epochs, eval_every=epochs)
    few = min(seeds, DEEP_SEEDS)
    pairs, params = compare(model, recipe, deep, few)
    claims = claims_of_matching(f"3 x {hidden}", pairs, *planted(model, params, few), published)
    claims += claims_of_depth(deep.features, deep.classes, seeds)
    found = []
    for width in widths:
        model = MLP((shallow.features, width, shallow.classes), initializer="lecun")
        recipe = Recipe(batch_size=100, epochs=shallow_epochs, eval_every=shallow_epochs)
        found.append(compare(model, recipe, shallow, seeds)[0])
    claims += claims_of_widths(widths, found, published)
    (out / "rebasin.png").write_bytes(png(draw_lines(pairs)))
    (out / "rebasin_width.png").write_bytes(png(draw_widths(widths, found)))
    config = {
        "networks": [few, seeds],
        "notes": NOTES,
        "examples": [len(deep.train.y), len(shallow.train.y)],
        "epochs": [epochs, shallow_epochs],
        "widths": list(widths),
        "barrier before matching by width": [pairs.barriers("before", "train", "chord").mean() for pairs in found],
        "barrier after matching by width": [pairs.barriers("after", "train", "chord").mean() for pairs in found],
        "train loss by width": [pairs.train_loss.mean() for pairs in found],
    }
    return claims, config


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it."""
    few = load("mnist5k")
    if quick:
        return settle(few, 128, 20, few, (2, 8, 128), 40, seeds, out, published=False)
    return settle(load_mnist(data), 512, 100, few, WIDTHS, 100, seeds, out, published=True)


if __name__ == "__main__":
    shared = "MNIST's one split, and one split of mnist5k"
    run_experiment("rebasin", __doc__, body, full_seeds=30, quick_seeds=6, needs=MNIST, shared=shared)
