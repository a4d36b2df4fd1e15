"""Do smooth activations make adversarially trained networks more robust than ReLU, as they do on ImageNet?

Claims: small perturbations turn a network's right answers wrong. Source: Szegedy et al., arXiv:1312.6199; Goodfellow et
al., arXiv:1412.6572. Training on attacked images makes it robust. Source: Madry et al., arXiv:1706.06083. This costs
accuracy on images that nobody attacks. Source: Tsipras et al., arXiv:1805.12152. "ReLU significantly weakens
adversarial training due to its non-smooth nature": with a smooth activation in its place (parametric softplus, SiLU,
which is swish, GELU, ELU, smooth ReLU) a ResNet-50 on ImageNet is more robust, with SiLU 42.3 % in place of 33.0 %, and
0.9 points more accurate. Source: Xie et al., Smooth Adversarial Training, arXiv:2006.14536, of no MLP.

Protocol: MNIST, 784-100-100-10, He's start, cross-entropy, batch 128, 4 epochs of one-cycle Adam, one activation in
both hidden layers: ReLU, leaky ReLU, which has a kink, too, and all of the library's with a continuous slope but
log-sigmoid, which is softplus mirrored. The attack may change every pixel by 0.1 of its range. It is trained against as
in that paper: one step of 1.25 times that from a random start (Wong et al., arXiv:2001.03994). Accuracy under attack is
the share of 2,000 test digits, every fifth, that stay right in the worst of 3 runs of PGD, 20 steps of 0.01 each, on
the margin of the best wrong class, which does not flatten where a network is sure. 5,000 training digits are held out.
Each activation has its best of three peaks of the learning rate, that of the highest accuracy under one run on 2,000 of
these, the mean of two seeds that count for nothing else; plain networks (ReLU and swish), which no attack trains, that
of the highest accuracy without one. On the other seeds, the same for every activation, comparisons are paired. Which of
the paper's five activations is least robust is chosen by half of these and judged by the other half.

Masked gradients (Athalye et al., arXiv:1802.00420) are looked for in each network: the accuracy must fall as the
attack grows, to 0 at 0.5; FGSM, noise of the same size, and an attack on a ReLU network of another seed must not find
more errors than PGD, nor must steps of other lengths, or 100 of them, by more than 2 points (on 500 digits).

Command: python experiments/smooth_robustness.py --data idx:DIR, where DIR holds the four files of MNIST in idx format,
.gz or not, or --data tfds:mnist; or set MLPJAX_MNIST to either.
Wall time on two cores: 20 minutes for 352 networks, with tests beside it; --quick 40 s, ReLU and swish on mnist5k.

Expected: a plain network has 10 % right under attack and 98 % without it. Trained against it, one with ReLU has 81 %
right under attack and 96 % without, one with swish 88 % and 98 %: 6.8 points more, or 36 % of ReLU's errors, where
ImageNet's figures are 14 %; and swish has as many right without an attack as a plain network, so that it pays no price.
ELU, mish, softplus and sinc are near swish, GELU, sigmoid, tanh and softsign between. It is not the kink: leaky ReLU
and both smooth ReLUs, whose curve is as good as a kink, lie with ReLU, and parametric softplus, as sharp as 10, is the
worst of all, 28 points below. So "each of the five" and "the kink" fail. So does "no mask", by one network of 96: with
parametric softplus the largest attack leaves one network one digit of 500 (and one with sinc); all else is passed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array
from matplotlib.figure import Figure

from mlpjax import (
    MLP,
    Dataset,
    Recipe,
    Split,
    Task,
    UserError,
    Variables,
    adversarial,
    load,
    make_keys,
    make_task,
    map_seeds,
    progress_bar,
    sweep,
)
from mlpjax.attacks import Attack, fgsm, margins, pgd, strongest
from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.data.dataset import stratified_holdout
from mlpjax.data.mnist import load_mnist
from mlpjax.plumbing.rate import float32_rate, flops_per_example
from mlpjax.report.figures import BLUE, GREEN, ORANGE, PURPLE, STYLE, VERMILLION, png
from mlpjax.stats import mean_band

EPSILON, STEP, STEPS, RESTARTS = 0.1, 0.01, 20, 3
HIDDEN, HELD_OUT, CHOOSERS = (100, 100), 5000, 2
EPSILONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
LENGTHS, MANY = (STEP, 0.005, 0.025, 0.05, 0.1), (0.005, 100)
"""Of the usual number of steps, first the usual one; and a length and a larger number."""
FOUND_MORE = 2.0
"""Points by which no other steps may lower the accuracy: ours, a fifth of the published gain."""
PAPER = ("parametric_softplus", "swish", "gelu", "elu", "trained_smooth_relu")
KINKED = ("relu", "leaky_relu")
KINDS = (*KINKED, *PAPER, "smooth_relu", "softplus", "mish", "tanh", "sigmoid", "softsign", "sinc")
ALSO_PLAIN = ("relu", "swish")
"""Kinds that are trained without an attack, too."""
PLAIN = ", plain"
"""Not attacked in training."""
SMOOTH, GOODFELLOW, MADRY, TSIPRAS, MASKED = (
    f"arXiv:{number}" for number in ("2006.14536", "1412.6572", "1706.06083", "1805.12152", "1802.00420")
)
AVOIDED = 100 * (42.3 - 33.0) / (100 - 33.0)
"""Published: of the digits on which ReLU is wrong under attack, the share that swish saves, in %."""
FRAGILE = "Changing each pixel by at most a tenth of its range turns most of a plain network's right answers wrong."
ROBUST = "A network that was trained on attacked digits keeps most of its right answers under attack."
PRICE = "Adversarial training costs accuracy on digits that nobody attacks."
SWISH = "An adversarially trained MLP is more robust with swish (SiLU) than with ReLU, as a ResNet-50 on ImageNet is."
FREE = "Swish in place of ReLU costs an adversarially trained MLP no accuracy on digits that nobody attacks."
EACH = "Each of the paper's five smooth activations makes an adversarially trained MLP more robust than ReLU."
KINK = "It is the kink: ReLU smoothed near 0, and nowhere else, makes an MLP more robust than ReLU."
SOUND = "The robustness, with ReLU and the paper's five smooth activations, is no mask over the gradients."
NOTES = [
    "The network, the epochs, the attacks and the range of the learning rates were chosen, and the claims fixed, after "
    "trials of seeds 1000 to 1005, which are not among those here.",
    "Of the same kind of network, trained for 15 epochs, one with ReLU had 80.9 % right under attack and one with "
    "swish 89.8 %, where after 5 it was 78.7 and 87.5 % (seed 1000, peak 0.003): the gap is not one of speed.",
    "Attacks on each of the nine wrong classes in turn lowered the accuracy of the trials' networks by 0.3 to 0.4 "
    "points with ReLU and with swish, and by 1.3 to 2.5 with parametric softplus.",
]


class Size(NamedTuple):
    """How much of it all is trained and attacked."""

    kinds: Sequence[str]
    epochs: int
    rates: Sequence[float]
    digits: int
    """That are attacked."""
    few: int
    """That are attacked in many ways."""


FULL = Size(KINDS, 4, (3e-3, 1e-2, 3e-2), 2000, 500)
QUICK = Size(("relu", "swish"), 5, (1e-2,), 100, 50)


class Attacked(NamedTuple):
    """Accuracies of a network on test digits, in %, under several attacks."""

    clean: Any
    robust: Any
    """Under the worst of several runs of PGD."""
    turned: Any
    """Share of what is right without an attack that is wrong then."""
    fgsm: Any
    noise: Any
    """Every pixel changed as much, up or down by chance."""
    transfer: Any
    """Attacked is a ReLU network of another seed."""
    by_epsilon: Any
    by_step: Any
    """Under one run of PGD, by the length of its steps; last, more of them."""


class Kind(NamedTuple):
    """What became of the networks of one activation, of every seed."""

    rate: float
    tried: np.ndarray
    """What the choosers had right on held-out digits at every rate, in %."""
    clean: np.ndarray
    """Accuracy on all test digits, in %."""
    variables: Variables
    among: np.ndarray
    """Seeds whose network did not diverge."""
    attacked: Attacked


def every(split: Split, count: int) -> Split:
    """So many digits at equal distances, as MNIST's later ones are harder."""
    return Split(*(leaf[:: len(split.y) // count][:count] for leaf in split))


def robustly(model: MLP, recipe: Recipe, train: Split) -> Task:
    """The usual task on attacked minibatches."""
    return adversarial(make_task(model, recipe, train), pgd(EPSILON, 1.25 * EPSILON, 1))


def network(name: str, dataset: Dataset) -> MLP:
    """With the activation of this kind."""
    return MLP((dataset.features, *HIDDEN, dataset.outputs), name.removesuffix(PLAIN))


def right(model: MLP, variables: Variables, y: Array) -> Callable[[Array], Array]:
    """Margins of one network as a function of the images: below 0 where it is right."""
    return lambda x: margins(model.apply(variables, x)[0], y)


def usual(losses: Callable[[Array], Array], key: Array, x: Array, restarts: int = 1) -> Array:
    """The worst images that the usual PGD finds."""
    return strongest(pgd(EPSILON, STEP, STEPS), key, losses, x, restarts)


def attack_one(model: MLP, source: MLP) -> Callable[..., Attacked]:
    """The function that attacks one network; what transfers is of a source network."""

    def attack_it(own: dict[str, Any], digits: Split, few: Split) -> Attacked:
        key = make_keys(own["seed"]).attack
        prepare = make_task(model, Recipe()).prepare
        (x, y), (fewer, labels) = ((prepare(part.x), jnp.asarray(part.y)) for part in (digits, few))
        loss, loss_few = right(model, own["variables"], y), right(model, own["variables"], labels)

        def accuracy(x: Array) -> Array:
            return 100 * jnp.mean(loss(x) < 0)

        def against(attack: Attack) -> Array:
            return 100 * jnp.mean(loss_few(strongest(attack, key, loss_few, fewer, 1)) < 0)

        clean, robust = loss(x) < 0, loss(usual(loss, key, x, RESTARTS)) < 0
        up_or_down = EPSILON * jax.random.rademacher(key, x.shape, x.dtype)
        ways = [(epsilon, epsilon * STEP / EPSILON) for epsilon in EPSILONS] + [(EPSILON, step) for step in LENGTHS]
        found = jax.lax.map(lambda way: against(pgd(way[0], way[1], STEPS)), jnp.array(ways))
        return Attacked(
            clean=100 * jnp.mean(clean),
            robust=100 * jnp.mean(robust),
            turned=100 * jnp.sum(clean & ~robust) / jnp.maximum(1, jnp.sum(clean)),
            fgsm=accuracy(fgsm(EPSILON)(key, lambda x: jnp.sum(loss(x)), x)),
            noise=accuracy(jnp.clip(x + up_or_down, 0, 1)),
            transfer=accuracy(usual(right(source, own["source"], y), key, x)),
            by_epsilon=found[: len(EPSILONS)],
            by_step=jnp.append(found[len(EPSILONS) :], against(pgd(EPSILON, *MANY))),
        )

    return attack_it


def train(name: str, dataset: Dataset, size: Size, seeds: int, source: Kind | None) -> Kind:
    """Choose the learning rate of one kind of network, train it from every seed, and attack it.

    What transfers is of the source's network of the next seed; None: of its own kind's.
    """
    model, plain = network(name, dataset), name.endswith(PLAIN)
    recipe = Recipe(schedule="one-cycle", epochs=size.epochs, eval_every=size.epochs)
    held = every(dataset.valid, size.digits)

    def run(what: str, of: Sequence[int], rates: Sequence[float]) -> Any:
        with progress_bar(f"{name}, {what}", "networks") as on_progress:
            over = {"learning_rate": rates}
            task = make_task if plain else robustly
            return sweep(model, recipe, dataset, of, over, task=task, on_progress=on_progress)

    def ask(own: dict[str, Any], held: Split) -> Array:
        x = make_task(model, recipe).prepare(held.x)
        loss = right(model, own["variables"], jnp.asarray(held.y))
        return jnp.mean(loss(x if plain else usual(loss, make_keys(own["seed"]).attack, x)) < 0)

    rate, tried = rates_chosen(run, ask, size.rates, held)
    chosen = range(CHOOSERS, CHOOSERS + seeds)
    found = run(f"at {rate:g}", chosen, [rate]).trained[0]
    other = found.variables if source is None else source.variables
    own = {
        "variables": found.variables,
        "source": jax.tree.map(lambda leaf: np.roll(leaf, -1, axis=0), other),
        "seed": np.array(chosen),
    }
    digits, few = (every(dataset.test, count) for count in (size.digits, size.few))
    attack = attack_one(model, network("relu", dataset))
    with progress_bar(f"{name}, attacks", "networks") as on_progress:
        attacked = map_seeds(attack, own, digits, few, on_progress=on_progress)
    accuracies = Attacked(*(np.asarray(values, float) for values in attacked))
    return Kind(rate, tried, 100 - found.error()[:, -1], found.variables, ~found.diverged, accuracies)


def rates_chosen(
    run: Callable[..., Any], ask: Callable[..., Array], rates: Sequence[float], held: Split
) -> tuple[float, np.ndarray]:
    """The rate with which the choosers have most digits right, and how many, in %, at every rate."""
    swept = run("rates", range(CHOOSERS), rates)
    own = {"variables": Variables(swept.params), "seed": np.tile(np.arange(CHOOSERS), (len(rates), 1))}
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), own)
    tried = 100 * map_seeds(ask, flat, held).astype(float).reshape(len(rates), CHOOSERS).mean(axis=1)
    return rates[int(tried.argmax())], tried


def counted(*kinds: Kind) -> np.ndarray:
    """Seeds whose networks of all these kinds did not diverge."""
    return np.all([kind.among for kind in kinds], axis=0)


def claims_of_kind(name: str, kind: Kind) -> list[Claim]:
    """Accuracies of one kind of network with and without an attack."""
    own: Any = {"unit": "%", "among": kind.among}
    return [
        Claim.mean(f"{name}: accuracy without an attack", kind.clean, **own),
        Claim.mean(f"{name}: accuracy under attack", kind.attacked.robust, **own),
    ]


def claims_of_training(kinds: dict[str, Kind]) -> list[Claim]:
    """What an attack does to plain networks and to those that were trained against it, and what that costs."""
    plain, trained = kinds["relu" + PLAIN], kinds["relu"]
    half: Any = {"unit": "%", "published": 50}
    return [
        Claim.mean(f"relu{PLAIN}: right answers that the attack turns", plain.attacked.turned, among=plain.among,
            relation="above", source=GOODFELLOW, settles=FRAGILE, **half),
        Claim.mean(f"relu{PLAIN}: accuracy under noise of the same size", plain.attacked.noise, unit="%",
            among=plain.among),
        Claim.mean("relu: right answers that the attack turns", trained.attacked.turned, among=trained.among,
            relation="below", source=MADRY, settles=ROBUST, **half),
        *(
            Claim.difference(f"{name}: accuracy without an attack, plain above adversarially trained",
                kinds[name + PLAIN].clean, kinds[name].clean, unit="points", published=0, relation="above",
                source=TSIPRAS, among=counted(kinds[name], kinds[name + PLAIN]), settles=PRICE * (name == "relu"))
            for name in ALSO_PLAIN
        ),
    ]  # fmt: skip


def claims_of_smoothness(kinds: dict[str, Kind]) -> list[Claim]:
    """Every other activation against ReLU, in networks that were trained against attacks."""
    relu = kinds["relu"]
    smooth = {name: kind for name, kind in kinds.items() if name != "relu" and not name.endswith(PLAIN)}
    robust: Any = {"unit": "points", "published": 0, "relation": "above", "source": SMOOTH}
    claims = []
    for name, kind in smooth.items():
        stated = robust | {"settles": {"swish": SWISH, "trained_smooth_relu": KINK}.get(name, "")}
        told = stated if name in PAPER else {"unit": "points"}
        free = told | {"relation": "at least", "settles": FREE * (name == "swish")} if name in PAPER else told
        among = counted(kind, relu)
        claims += [
            Claim.difference(f"accuracy under attack, {name} above relu", kind.attacked.robust, relu.attacked.robust,
                among=among, **told),
            Claim.difference(f"accuracy without an attack, {name} above relu", kind.clean, relu.clean, among=among,
                **free),
        ]  # fmt: skip
    swish, errors = kinds["swish"], 100 - relu.attacked.robust
    saved = 100 * (swish.attacked.robust - relu.attacked.robust) / np.maximum(errors, 1e-9)
    claims.append(
        Claim.mean("errors under attack that swish avoids of relu's", saved, unit="%", among=counted(swish, relu),
            published=round(AVOIDED, 1), relation="at least", source=SMOOTH)
    )  # fmt: skip
    seeds = len(relu.clean)
    judges = np.arange(seeds) >= seeds // 2
    least = min(
        (name for name in PAPER if name in kinds), key=lambda name: float(kinds[name].attacked.robust[~judges].mean())
    )
    claims.append(
        Claim.difference(f"accuracy under attack, {least}, the least robust of the paper's, above relu",
            kinds[least].attacked.robust, relu.attacked.robust, among=judges & counted(kinds[least], relu),
            **robust, settles=EACH)
    )  # fmt: skip
    return claims


CONTROLS: dict[str, Callable[[Attacked], np.ndarray]] = {
    f"accuracy falls with the size of the attack, to 0 at {EPSILONS[-1]}": lambda found: (
        (np.diff(found.by_epsilon, axis=1) <= 0).all(axis=1) & (found.by_epsilon[:, -1] == 0)
    ),
    "FGSM finds no more than PGD": lambda found: found.robust <= found.fgsm,
    "noise finds no more than PGD": lambda found: found.robust <= found.noise,
    "what transfers finds no more than PGD": lambda found: found.robust <= found.transfer,
    f"no other steps lower the accuracy by more than {FOUND_MORE:g} points": lambda found: (
        found.by_step[:, 0] - found.by_step.min(axis=1) <= FOUND_MORE
    ),
}
"""Of which seeds it is true."""


def claims_of_masking(kinds: dict[str, Kind]) -> list[Claim]:
    """Whether the attack is as strong as it should be on all networks of a seed that were trained against it."""
    trained = [kind for name, kind in kinds.items() if not name.endswith(PLAIN)]
    asked = [kinds[name] for name in ("relu", *PAPER) if name in kinds]

    def every_kind(of: Sequence[Kind], name: str, controls: Sequence[Callable[..., np.ndarray]], told: str) -> Claim:
        hits = np.all([control(kind.attacked) for control in controls for kind in of], axis=0)
        return Claim.every(name, hits, among=counted(*of), source=MASKED, settles=told)

    claims = [every_kind(trained, f"every activation: {what}", [one], "") for what, one in CONTROLS.items()]
    name = "relu and the paper's activations: all of these"
    return [*claims, every_kind(asked, name, [*CONTROLS.values()], SOUND)]


@mpl.rc_context(STYLE)
def draw(kinds: dict[str, Kind]) -> Figure:
    """Accuracy of every kind without and under attack, and of some by the size of the attack and of its steps."""
    rows = sorted(kinds, key=lambda name: float(kinds[name].attacked.robust[kinds[name].among].mean()))
    figure = Figure(figsize=(19, 2.6 + 0.36 * max(8, len(rows))))
    left, middle, last = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    for what, colour, marker in (("robust", VERMILLION, "o"), ("clean", BLUE, "s")):
        values = [kinds[name].clean if what == "clean" else kinds[name].attacked.robust for name in rows]
        ends = [mean_band(row[kinds[name].among, None]) for name, row in zip(rows, values, strict=True)]
        low, mean, high = np.array(ends)[..., 0].T
        label = "without an attack" if what == "clean" else f"under attack, {EPSILON:g} a pixel"
        left.errorbar(mean, range(len(rows)), xerr=[mean - low, high - mean], color=colour, marker=marker, ls="",
            capsize=4, label=label)  # fmt: skip
    names = [f"{name.replace('_', ' ')}  ({kinds[name].rate:g})" for name in rows]
    left.set_yticks(range(len(rows)), labels=names)
    for tick, name in zip(left.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if name in KINKED else "normal")
    left.set(xlim=(-3, 103), xlabel="accuracy on test digits (%)", ylabel="activation  (best rate); bold: a kink")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    looks = {
        "swish": (BLUE, "-"), "trained_smooth_relu": (GREEN, "-"), "relu": (VERMILLION, "-"),
        f"relu{PLAIN}": (ORANGE, "--"), f"swish{PLAIN}": (PURPLE, "--"),
    }  # fmt: skip
    order = np.argsort(LENGTHS)
    for name, (colour, line) in looks.items():
        if name not in kinds:
            continue
        kind = kinds[name]
        steps = kind.attacked.by_step[kind.among][:, order]
        for axes, places, values in (
            (middle, EPSILONS, kind.attacked.by_epsilon[kind.among]),
            (last, np.array(LENGTHS)[order], steps),
        ):
            low, mean, high = mean_band(values)
            axes.plot(places, mean, line, color=colour, marker="o", ms=5, label=name.replace("_", " "))
            axes.fill_between(places, low, high, color=colour, alpha=0.25, lw=0)
    middle.axvline(EPSILON, color="black", ls=":", lw=1.2)
    middle.set(xlabel="largest change of a pixel, from 0 to 1", ylabel="accuracy under attack (%)", ylim=(-3, 103))
    middle.set_title("dotted: the attack of training")
    middle.legend(fontsize=11)
    last.axvline(STEP, color="black", ls=":", lw=1.2)
    last.set(
        xlabel=f"length of each of {STEPS} steps", ylabel="accuracy under attack (%)", xscale="log", ylim=(-3, 103)
    )
    last.set_xticks(np.sort(LENGTHS), labels=[f"{length:g}" for length in np.sort(LENGTHS)])
    last.minorticks_off()
    last.set_title("dotted: as in all else")
    figure.suptitle("means over seeds, with 95 % intervals")
    return figure


def settle(dataset: Dataset, size: Size, seeds: int, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train and attack every kind of network, draw the figure and state the claims."""
    if seeds < 4:
        raise UserError(f"--seeds {seeds}: give at least 4; half of them choose what the others are asked")
    rate, begin = float32_rate(), time.perf_counter()
    kinds: dict[str, Kind] = {}
    for name in (*size.kinds, *(name + PLAIN for name in ALSO_PLAIN)):
        kinds[name] = train(name, dataset, size, seeds, kinds.get("relu" + PLAIN * name.endswith(PLAIN)))
    seconds = time.perf_counter() - begin
    (out / "smooth_robustness.png").write_bytes(png(draw(kinds)))
    networks = len(kinds) * (CHOOSERS * len(size.rates) + seeds)
    widths = (dataset.features, *HIDDEN, dataset.outputs)
    ascent = 4 * sum(inputs * outputs for inputs, outputs in pairwise(widths))  # forward, and back to the pixels
    steps = networks * size.epochs * len(dataset.train.y)
    attacks = STEPS * ((RESTARTS + 1) * size.digits + (len(EPSILONS) + len(LENGTHS) + MANY[1] / STEPS) * size.few)
    work = steps * flops_per_example(widths) + ascent * (
        steps * len(size.kinds) / len(kinds) + len(kinds) * seeds * attacks
    )
    told = (
        f"{networks} networks. Training and attacking take {work / 1e9:,.0f} GFLOP in products, "
        f"{work / 1e7 / seconds / rate:.0f} % of the machine's rate of {rate:.0f} GFLOP/s over the whole of the time, "
        "compiling, drawing noise and evaluating included."
    )
    config = {
        "training digits": len(dataset.train.y),
        "hidden": HIDDEN,
        "epochs": size.epochs,
        "rates": size.rates,
        "float32 rate of the machine (GFLOP/s)": round(rate),
        "best at an end of the rates": [
            name for name, kind in kinds.items() if kind.rate in (min(size.rates), max(size.rates))
        ],
        "notes": [*NOTES, told],
        "kinds": {
            name: {
                "best rate": kind.rate,
                "right on held-out digits at every rate (%)": kind.tried.tolist(),
                "diverged": int((~kind.among).sum()),
                "seeds that pass": {what: int(one(kind.attacked).sum()) for what, one in CONTROLS.items()},
                "accuracy under attack by its size (%)": kind.attacked.by_epsilon[kind.among].mean(axis=0).tolist(),
            }
            for name, kind in kinds.items()
        },
    }
    claims = [claim for name, kind in kinds.items() for claim in claims_of_kind(name, kind)]
    claims += claims_of_training(kinds) + claims_of_smoothness(kinds) + claims_of_masking(kinds)
    return claims, config


def body(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
    """The experiment, as `run_experiment` wants it; quick is on mnist5k."""
    if quick:
        return settle(load("mnist5k"), QUICK, seeds, out)
    whole = load_mnist(data)
    rows = stratified_holdout(whole.train.y, HELD_OUT, seed=0)
    kept, held = (Split(whole.train.x[some], whole.train.y[some]) for some in rows)
    return settle(replace(whole, train=kept, valid=held), FULL, seeds, out)


if __name__ == "__main__":
    shared = "MNIST's one split into 60,000 and 10,000 digits, and one draw of the 5,000 held out"
    run_experiment("smooth_robustness", __doc__, body, full_seeds=16, quick_seeds=4, needs=MNIST, shared=shared)
