"""Spurious minima are common: ReLU students of an orthonormal ReLU teacher, all certified in float64.

Claim: a network x -> sum_i relu(w_i . x) that learns one like it has minima that are not global from 6 neurons on, and
gradient descent from random starts finds them the more often the larger it is, but hardly ever with one more neuron
than the teacher has. Source: Safran and Shamir, Spurious Local Minima are Common in Two-Layer ReLU Neural Networks,
ICML 2018, arXiv:1712.08968, and the authors' repository OneLayerGDconvergence; the minimum for k = 7 is from their
repository Overparameterization (of arXiv:2006.01005), to 10 digits.

Protocol: teacher e_1 ... e_k in R^k, n = k or k + 1 students, the loss half the expected squared error over standard
Gaussian inputs, in closed form by the arc-cosine kernel (Cho and Saul, 2009, degree 1). As published: weights from
N(0, 1/k), full gradient descent with step 0.1, and a minimum is spurious where its loss is at least 0.001. The authors
ran 1,000 starts down to a gradient (of one neuron, times 2 pi) of 1e-9. Here Newton's method takes over at a gradient
of 1e-6, in the basin that gradient descent chose (the longest way it still goes is in the results), and goes down to
1e-10; the Hessian certifies the minimum, which is identified up to permutations of students and coordinates. With k + 1
students the global minima are valleys, which gradient descent approaches ever more slowly. As it only goes down, it
stops below a loss of 0.001, and only students above that are polished, with 200 of the others.

Command: python experiments/spurious_minima.py    (10,000 seeds for each of the ten shapes)
Wall time on two cores: about 18 minutes (1,459 s with other work on the machine; 10,000 students of 10 a little over
four of these); --quick 40 s.

Expected: the published rates, 0.3, 5.5, 12.6, 21.8 and 34.6 % for k = 6 to 10, within their own 95 % intervals of some
2 points; of the first, 3 in 1,000, only that it is about as small. All students of k end in a certified minimum; the
spurious ones have a smallest eigenvalue of 0.0019 or more. For k = 6 and 7 they are one and the same: one neuron has
turned around and spread out, and the others lean on it. Larger k have further ones, with a loss two or three times as
high, but few seeds find them. For k = 7 its weights agree with the published ones to all ten digits. With k + 1
students only a few seeds in ten thousand, if any, end in one, and the rest in degenerate minima of loss 0: a neuron of
the teacher is split among students in any proportion.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Array, Bool, Float
from matplotlib.figure import Figure

from mlpjax import map_seeds, progress_bar
from mlpjax.claims import Claim, published_rate, run_experiment
from mlpjax.landscape.catalogue import Entry, catalogue, summarise
from mlpjax.landscape.minima import Certificate, Kind, Polished, classify, count_kinds, polish
from mlpjax.lift import Work, run
from mlpjax.report import figures
from mlpjax.stats import wilson_ci

TEACHERS = (6, 7, 8, 9, 10)
STEP = 0.1
STOP = 1e-6
"""Gradient norm at which Newton's method takes over; plateaus on the way go below 1e-4."""
SPURIOUS = 1e-3
"""Smallest loss of a spurious minimum."""
PERIOD = 500
"""Steps of gradient descent between two looks at the progress."""
PERIODS = 400
CHUNK = 16
POLISH_CHUNK = 16
SAMPLE = 200
"""How many of the solved students with one too many are polished."""
ARTICLE = "Safran and Shamir (2018)"
CODE = "Safran, Yehudai and Shamir (2021), code"
RATES = {6: 3, 7: 55, 8: 126, 9: 218, 10: 346}
"""Published spurious minima with k students of k, in 1,000 runs; table 1."""
FAMILIES = {9: (213, 5), 10: (312, 34)}
"""The same, by the loss that the authors' repository stores of each run."""
EXTRA = {6: 0, 7: 0, 8: 1, 9: 0, 10: 1}
"""With one student more, in 1,000 runs: the runs that the authors' repository stores."""
RUNS = 1000
INFERRED = (
    "With one student more than the teacher has neurons the authors' repository stores one spurious run for k = 8 and "
    "for k = 10, and no file for the others; that none of their 1,000 runs was spurious is inferred from that."
)
VALUES = {
    "the odd one's own weight": (-0.6327039049, 1),
    "the others' own weight": (0.9969227988, 6),
    "the others' weight from the odd one's coordinate": (0.2616910758, 6),
    "the odd one's weight from the others' coordinates": (0.1859910463, 6),
    "the others' weight from each other's": (-0.0350801559, 30),
}
"""Published weights of the spurious minimum with 7 students, and how often each stands in the matrix."""

Weights: TypeAlias = Float[Array, "students inputs"]


def sine(squares: Array, product: Array) -> Array:
    """|w| |v| sin(angle), from |w|^2 |v|^2 and w . v, with derivative 0 where it is 0."""
    difference = squares - product**2
    positive = difference > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, difference, 1)), 0)


@jax.custom_jvp
def kernel(squares: Array, product: Array) -> Array:
    """E[relu(w . x) relu(v . x)], x ~ N(0, I), from |w|^2 |v|^2 and w . v: (|w| |v| sin t + (pi - t) w . v) / 2 pi."""
    height = sine(squares, product)
    return (height + (jnp.pi - jnp.arctan2(height, product)) * product) / (2 * jnp.pi)


@kernel.defjvp
def kernel_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """The derivative in closed form: that of the sine is infinite where students are parallel, and cancels."""
    squares, product = primals
    height = sine(squares, product)
    slopes = height / (2 * squares) * tangents[0] + (jnp.pi - jnp.arctan2(height, product)) * tangents[1]
    return kernel(squares, product), slopes / (2 * jnp.pi)


def population_loss(students: Weights, teacher: Weights) -> Float[Array, ""]:
    """Half the expected squared error, E[(sum_i relu(w_i . x) - sum_j relu(v_j . x))^2] / 2."""

    def total(a: Weights, b: Weights) -> Float[Array, ""]:
        squares = jnp.sum(a**2, axis=1)[:, None] * jnp.sum(b**2, axis=1)[None]
        return jnp.sum(kernel(squares, a @ b.T))

    return total(students, students) / 2 - total(students, teacher) + total(teacher, teacher) / 2


class Descent(NamedTuple):
    """Gradient descent under way."""

    students: Weights
    gradient: Weights
    loss: Float[Array, ""]
    steps: Array


def make_descent(students: int, teachers: int) -> Work:
    """One start's gradient descent; the shared argument is the teacher, each one's own its random key."""
    enough = SPURIOUS if students > teachers else -math.inf

    def look(weights: Weights, teacher: Weights, steps: Array) -> Descent:
        loss, gradient = jax.value_and_grad(population_loss)(weights, teacher)
        return Descent(weights, gradient, loss, steps)

    def start(key: Array, teacher: Weights) -> Descent:
        weights = jax.random.normal(key, (students, teachers), jnp.float64) / math.sqrt(teachers)
        return look(weights, teacher, jnp.int32(0))

    def advance(_: Array, teacher: Weights, descent: Descent, done: Array, until: Array) -> Descent:
        del done  # which the steps say

        def under_way(descent: Descent) -> Array:
            far = (jnp.linalg.norm(descent.gradient) > STOP) & (descent.loss > enough)
            return far & (descent.steps < until * PERIOD)

        def step(descent: Descent) -> Descent:
            return look(descent.students - STEP * descent.gradient, teacher, descent.steps + 1)

        return jax.lax.while_loop(under_way, step, descent)

    return Work(start, advance, PERIODS, lambda descent: descent)


def finish(students: Weights, teacher: Weights) -> tuple[Polished, Certificate]:
    """Polish one student network, and say what it is."""
    polished = polish(population_loss, students, teacher, steps=60)
    return polished, classify(population_loss, polished.params, teacher)


def canonical(weights: np.ndarray) -> np.ndarray:
    """The same for all permutations of the students (rows) and of the coordinates (columns; to the teacher all alike).

    Rows are ordered by their sorted weights, then columns by their weights from the first row on, all rounded to 6
    digits. Rows that tie must be alike in every way, as those of a block of one diagonal and one other value are.
    """
    rounded = np.round(weights, 6) + 0.0  # no -0.0
    by_row = np.lexsort(np.sort(rounded, axis=1).T[::-1])
    by_column = np.lexsort(rounded[by_row][::-1])
    return weights[by_row][:, by_column]


class Shape(NamedTuple):
    """What became of all starts with one number of teachers and students."""

    teachers: int
    students: int
    descended: Descent
    polished: Polished
    found: Certificate
    rows: np.ndarray
    """Which seeds were polished."""

    @property
    def name(self) -> str:
        """Such as 7 students of 6."""
        return f"{self.students} students of {self.teachers}"

    @property
    def seeds(self) -> int:
        """How many there were."""
        return len(self.descended.loss)

    @property
    def spurious(self) -> np.ndarray:
        """Places, among the polished, of the certified minima that are not global."""
        return np.flatnonzero((self.found.kind == Kind.MINIMUM) & (self.polished.loss >= SPURIOUS))


def study(teachers: int, students: int, seeds: int) -> Shape:
    """Gradient descent from all seeds, then Newton's method."""
    teacher = jnp.eye(teachers, dtype=jnp.float64)
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    title = f"{students} students of {teachers}"
    with progress_bar(f"{title}, descent", "periods") as on_progress:
        work = make_descent(students, teachers)
        descended, _ = run(work, keys, teacher, chunk=CHUNK, on_progress=on_progress)
    rows = np.flatnonzero(descended.loss > SPURIOUS) if students > teachers else np.arange(seeds)
    solved = np.setdiff1d(np.arange(seeds), rows)[:SAMPLE]
    rows = np.concatenate([rows, solved])
    with progress_bar(f"{title}, Newton", "networks") as on_progress:
        polished, found = map_seeds(
            finish, descended.students[rows], teacher, chunk=POLISH_CHUNK, on_progress=on_progress
        )
    return Shape(teachers, students, descended, polished, found, rows)


def catalogue_of(shape: Shape) -> list[Entry]:
    """The distinct spurious minima, up to permutations of students and coordinates."""
    places = shape.spurious
    if not len(places):
        return []
    units = np.stack([canonical(weights) for weights in shape.polished.params[places]])
    x = np.random.default_rng(0).standard_normal((100, shape.teachers))
    return catalogue(
        {"loss": shape.polished.loss[places], "spectrum": shape.found.eigenvalues[places], "units": units},
        {"loss": 1e-8, "spectrum": 1e-6, "units": 1e-6},
        np.maximum(np.einsum("xi,nui->nxu", x, units), 0).sum(axis=2),
        output_tolerance=1e-6,
    )


def claims_of(shape: Shape, entries: list[Entry]) -> list[Claim]:
    """How often a spurious minimum is found, and that it is one."""
    name, extra = shape.name, shape.students - shape.teachers
    at_ten = shape.teachers == max(TEACHERS)
    spurious = np.isin(np.arange(shape.seeds), shape.rows[shape.spurious])
    if extra:
        # Of so rare an event the published runs tell no more than how often it is at most.
        most = 100 * wilson_ci(EXTRA[shape.teachers], RUNS)[1]
        settles = "With one neuron more than the teacher has, gradient descent hardly ever ends in a spurious minimum."
        beside: dict[str, Any] = {"published": most, "relation": "at most", "settles": settles if at_ten else ""}
        source = f"{ARTICLE}, code: {EXTRA[shape.teachers]} in {RUNS:,} runs, and the upper end of its interval"
        claims = [Claim.share(f"{name}: spurious minima", spurious, source=source, **beside)]
    else:
        settles = "Ten ReLU neurons that learn ten like them end in a spurious minimum in a third of all runs."
        beside = published_rate(RATES[shape.teachers], RUNS) | {"settles": settles if at_ten else ""}
        claims = [
            Claim.share(f"{name}: spurious minima", spurious, source=ARTICLE, **beside),
            Claim.share(f"{name}: certified minima, spurious or not", shape.found.kind == Kind.MINIMUM),
        ]
    if not extra:
        # All are polished: a place among those is a seed.
        commonest = np.isin(np.arange(shape.seeds), shape.spurious[entries[0].members] if entries else [])
        if shape.teachers in FAMILIES:
            first, *others = FAMILIES[shape.teachers]
            beside = published_rate(first, first + sum(others)) | {
                "source": f"{ARTICLE}, code: {first} of {first + sum(others)} runs"
            }
            claims.append(Claim.share(f"{name}: of these, the commonest minimum", commonest, among=spurious, **beside))
        if shape.teachers == 7:
            claims += claims_of_seven(shape, commonest)
    claims.append(Claim.exact(f"{name}: distinct spurious minima", len(entries)))
    if entries:
        least = float(shape.found.eigenvalues[shape.spurious, 0].min())
        claims.append(Claim.exact(f"{name}: smallest eigenvalue of any spurious minimum", least))
    return claims


def claims_of_seven(shape: Shape, commonest: Bool[np.ndarray, " seeds"]) -> list[Claim]:
    """The weights and the loss of the seeds that end in the commonest spurious minimum, beside the published ones."""
    ranked = np.sort(shape.polished.params.reshape(shape.seeds, -1), axis=1)
    rows, first = {}, 0
    for name, (value, times) in sorted(VALUES.items(), key=lambda item: item[1][0]):
        rows[name] = (ranked[:, first : first + times].mean(axis=1), value)
        first += times
    loss = population_loss(jnp.asarray(published_minimum()), jnp.eye(7, dtype=jnp.float64))
    rows["loss, of the published weights"] = (shape.polished.loss, float(loss))
    return [
        Claim.mean(
            f"{shape.name}, {name}",
            values,
            among=commonest,
            published=value,
            relation="about",
            tolerance=1e-8,
            tolerance_source="what a gradient of 1e-10 leaves open",
            source=CODE,
        )
        for name, (values, value) in rows.items()
    ]


def published_minimum() -> np.ndarray:
    """The published spurious minimum with 7 students, one in each row."""
    odd, own, from_odd, odd_others, others = (value for value, _ in VALUES.values())
    weights = np.full((7, 7), others)
    weights[np.diag_indices(7)] = own
    weights[1:, 0], weights[0, 1:], weights[0, 0] = from_odd, odd_others, odd
    return weights


@mpl.rc_context(figures.STYLE)
def draw_rates(catalogues: list[tuple[Shape, list[Entry]]], path: Path) -> None:
    """How often a spurious minimum is found, and how good the distinct ones are."""
    figure = Figure(figsize=(12, 5.6))
    axes, losses = figure.subplots(1, 2)
    styles = {0: ("k students", figures.BLUE, "o", "right"), 1: ("k + 1 students", figures.VERMILLION, "s", "left")}
    for extra, (label, colour, marker, side) in styles.items():
        own = [pair for pair in catalogues if pair[0].students == pair[0].teachers + extra]
        counts = [(len(shape.spurious), shape.seeds) for shape, _ in own]
        figures.draw_shares(
            axes, [shape.teachers for shape, _ in own], counts, label=label, color=colour, marker=marker
        )
        for shape, entries in own:
            x = shape.teachers + 0.1 * (extra - 0.5)
            for entry in entries:
                loss = shape.polished.loss[shape.spurious[entry.members[0]]]
                losses.scatter(x, loss, color=colour, marker=marker, alpha=0.6)
                losses.annotate(f"  {len(entry.members):,}  ", (x, loss), ha=side, va="center", color=colour)
    teachers = sorted({shape.teachers for shape, _ in catalogues})
    published = [(RATES[k], RUNS) for k in teachers]
    style = {"label": "k students, published (1,000 seeds)", "color": "black", "marker": "D", "ls": ""}
    figures.draw_shares(axes, [k + 0.12 for k in teachers], published, **style)
    # Rates from a few in ten thousand to a third, and 0.
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set(ylabel="seeds that end in a spurious minimum (%)", ylim=(0, 100))
    axes.yaxis.set_major_formatter("{x:g}")
    losses.set(ylabel="loss of each distinct spurious minimum", title="number: seeds that end there", ylim=0)
    for panel in (axes, losses):
        panel.set(xlabel="neurons of the teacher, k", xticks=teachers, xlim=(teachers[0] - 0.5, teachers[-1] + 0.5))
    title = f"{catalogues[0][0].seeds:,} seeds, 95 % intervals"
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, title=title)
    path.write_bytes(figures.png(figure))


@mpl.rc_context(figures.STYLE)
def draw_minima(catalogues: list[tuple[Shape, list[Entry]]], path: Path) -> None:
    """The weights of the spurious minimum that most seeds end in, for every k that has one."""
    shown = [(shape, entries[0]) for shape, entries in catalogues if entries and shape.students == shape.teachers]
    figure = Figure(figsize=(3 * max(1, len(shown)) + 1, 3.8))
    panels = figure.subplots(1, max(1, len(shown)), squeeze=False)[0]
    for axes, (shape, entry) in zip(panels, shown, strict=False):
        place = shape.spurious[entry.members[0]]
        image = axes.imshow(canonical(shape.polished.params[place]), cmap="PuOr", vmin=-1, vmax=1)
        share = 100 * len(entry.members) / shape.seeds
        axes.set(title=f"k = {shape.teachers}, {share:.2g} % of seeds\nloss {shape.polished.loss[place]:.5f}")
        axes.set(xlabel="coordinate", xticks=[], yticks=[])
        axes.grid(False)
    panels[0].set_ylabel("student")
    if shown:
        figure.colorbar(image, ax=panels, label="weight")
    path.write_bytes(figures.png(figure))


def describe(shape: Shape, entries: list[Entry]) -> dict[str, Any]:
    """The catalogue and the certificates' worst numbers, ready for JSON."""
    firsts = [shape.spurious[entry.members[0]] for entry in entries]
    return {
        "steps of descent, median and most": [int(value) for value in np.quantile(shape.descended.steps, [0.5, 1])],
        "longest gradient": float(shape.polished.gradient_norm.max()),
        "longest way of polishing": float(shape.polished.travel.max()),
        "kinds": count_kinds(shape.found.kind),
        "spurious minima": [
            {
                "loss": float(shape.polished.loss[first]),
                "smallest eigenvalue": float(shape.found.eigenvalues[first, 0]),
                **summarise(entry),
            }
            for first, entry in zip(firsts, entries, strict=True)
        ],
    }


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    """All shapes from all seeds; a quick run takes k = 6 and 7 only."""
    teachers = TEACHERS[:2] if quick else TEACHERS
    with jax.enable_x64(True):
        shapes = [study(k, k + extra, seeds) for k in teachers for extra in (0, 1)]
        catalogues = [(shape, catalogue_of(shape)) for shape in shapes]
        claims = [claim for shape, entries in catalogues for claim in claims_of(shape, entries)]
    draw_rates(catalogues, out / "spurious_minima_rates.png")
    draw_minima(catalogues, out / "spurious_minima_weights.png")
    return claims, {shape.name: describe(shape, entries) for shape, entries in catalogues} | {"notes": [INFERRED]}


if __name__ == "__main__":
    run_experiment("spurious_minima", __doc__, body, full_seeds=10_000, quick_seeds=300)
