"""The experiment on grokking: its networks and measures by hand, and what it states of curves that are known."""

import functools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import labelled, labels, load_experiment

from mlpjax import MLP, Recipe, Variables, make_keys, sampled_rows, train_many
from mlpjax.claims import run_experiment
from mlpjax.data.generated import make_modular_addition


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    found: Any = load_experiment("grokking")
    found.train_many = functools.partial(train_many, chunk=1)  # one program for any number of networks
    return found


def test_gromovs_network_by_hand(experiment: ModuleType) -> None:
    rng = np.random.default_rng(0)
    first, second, x = (rng.normal(size=shape).astype(np.float32) for shape in ((6, 4), (4, 3), (5, 6)))
    outputs, _ = experiment.gromov(3, 4).apply(
        Variables({"dense_0": {"kernel": first}, "dense_1": {"kernel": second}}), x
    )
    np.testing.assert_allclose(outputs, (x @ first) ** 2 @ second / (6 * 4), rtol=1e-4)
    drawn = experiment.gromov(31, 256).init(jax.random.key(0)).params["dense_0"]["kernel"]
    assert float(drawn.std()) == pytest.approx(1, rel=0.02)


def test_analytic_weights_add_a_half_where_the_class_is_right(experiment: ModuleType) -> None:
    """In the mean over frequencies and phases; and they solve the task where a network is wide, not where it is not."""
    p, units = 5, 200_000
    params = experiment.analytic(p, units, 0)
    x = make_modular_addition(p).train.x
    outputs = (x @ params["dense_0"]["kernel"]) ** 2 @ params["dense_1"]["kernel"] / units
    right = make_modular_addition(p).train.y[:, None] == np.arange(p)
    np.testing.assert_allclose(outputs, np.where(right, 1 / 2, -1 / (2 * (p - 1))), atol=0.01)
    np.testing.assert_array_equal(experiment.solved(3), 100)


def test_the_fourier_share_is_that_of_scipy(experiment: ModuleType) -> None:
    rng = np.random.default_rng(0)
    a = np.arange(31)
    waves = np.stack([np.cos(2 * np.pi * k * a / 31 + k) + 3 for k in (1, 4, 15)], axis=1).astype(np.float32)
    assert float(experiment.fourier_share(np.concatenate([waves, waves]))) == pytest.approx(100, abs=1e-3)
    kernel = rng.normal(size=(62, 7)).astype(np.float32)
    strongest = total = 0.0
    for column in (*kernel[:31].T, *kernel[31:].T):
        power = abs(np.exp(-2j * np.pi * np.outer(np.arange(1, 16), a) / 31) @ column) ** 2
        strongest, total = strongest + power.max(), total + power.sum()
    assert float(experiment.fourier_share(kernel)) == pytest.approx(100 * strongest / total, rel=1e-4)


def test_the_effective_rank_of_known_singular_values(experiment: ModuleType) -> None:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (6, 9))
    sizes = np.array([3.0, 2, 1, 0, 0, 0])
    kernel = (left * sizes) @ right[:6]
    assert float(experiment.effective_rank(jnp.float32(kernel))) == pytest.approx(14**2 / 98, rel=1e-4)


def test_what_a_network_was_not_trained_on_is_told_apart(experiment: ModuleType) -> None:
    """By networks that are trained alone, on the pairs that they drew; and a look sees the start and the end."""
    model = MLP((14, 8, 7), initializer="torch", bias="none")
    recipe = Recipe(learning_rate=0.03, epochs=20)
    (found,) = experiment.on_pairs("", model, recipe, 0.6, 2, {"learning_rate": [0.03]})
    assert found.steps.tolist() == [0, 10, 20]
    own = Recipe(learning_rate=0.03, batch_size=None, epochs=20, eval_every=10, sample_size=29)
    dataset = make_modular_addition(7)
    alone = experiment.train_many(model, own, dataset, range(2), snapshots=(0, 20))
    np.testing.assert_allclose(found.train, 100 - alone.error("train"), atol=1e-4)
    for seed in range(2):
        rows = np.asarray(sampled_rows(make_keys(seed), 49, 29))
        params = jax.tree.map(lambda leaf, seed=seed: leaf[seed], alone.params)
        outputs, _ = model.apply(Variables(params), dataset.test.x)
        right = np.delete(np.asarray(outputs).argmax(axis=1) == dataset.test.y, rows)
        assert found.test[seed, -1] == pytest.approx(100 * right.mean())
    kernel = alone.snapshots["dense_0"]["kernel"]
    shares = [[experiment.fourier_share(own) for own in both] for both in kernel]
    np.testing.assert_allclose(found.observed["fourier"][:, [0, 2]], shares, rtol=1e-4)


def known(
    experiment: ModuleType, fit: float, general: float, end: float = 100, observed: Any = None, seeds: int = 17
) -> Any:
    """Networks that fit and generalise around these steps (0: never) to such an accuracy; the last one diverged."""
    steps = np.arange(0, 3001, 10)
    late = 10 * np.random.default_rng(0).integers(0, 3, (seeds, 1))

    def risen(at: float, top: float) -> np.ndarray:
        return np.where((steps >= at + late) & (at > 0), top + 0.01 * late, 10 + 0.02 * late)

    return experiment.Curves(steps, risen(fit, 100), risen(general, end), observed, np.arange(seeds) == seeds - 1)


def inside(after: int, fourier: float = 90) -> dict[str, np.ndarray]:
    """What is observed of networks whose weights become periodic, shorter and of lower rank after so many steps."""
    rng, steps = np.random.default_rng(1), np.arange(0, 3001, 10)
    values = {"fourier": (22.12, fourier), "norm": (400, 300), "rank": (60, 10)}
    before, behind = 0.1 * rng.normal(size=(2, 17, 1))
    return {what: np.where(steps < after, a + before, b + behind) for what, (a, b) in values.items()}


def verdicts(claims: list[Any]) -> dict[str, str]:
    """Of the headlines, and by name where they are none."""
    return {claim.settles or claim.name: claim.verdict for claim in claims}


def addition(experiment: ModuleType, solved: float = 100, **changed: Any) -> dict[str, str]:
    """On networks as the papers have them, but for what is changed."""
    ends = {
        "none": known(experiment, 100, 0, observed=inside(4000)),
        "weak": known(experiment, 100, 1500, observed=inside(800)),
        "strong": known(experiment, 120, 600),
        "free": known(experiment, 100, 500),
        "more": known(experiment, 100, 300),
    } | changed
    settings = [(experiment.FEW, decay) for decay in experiment.DECAYS]
    settings += [(experiment.MORE, decay) for decay in experiment.DECAYS[:2]]
    found = dict(zip(settings, ends.values(), strict=True))
    claims = experiment.addition_claims(found, np.full(17, solved))
    assert {claim.seeds + claim.left_out for claim in claims} == {17}
    return verdicts(claims)


def test_grokking_is_told_where_it_is_and_not_where_it_is_not(experiment: ModuleType) -> None:
    names = ("SOLVES", "GROKS", "NEEDED", "UNNEEDED", "DECAY", "DATA", "PERIODIC")
    told = [getattr(experiment, name) for name in names]
    good = addition(experiment)
    assert {name: good[name] for name in told} == dict.fromkeys(told, "holds")
    few = "45 % of the pairs, ridge 1e-08"
    assert good[f"{few}: Fourier share at the start"] == "holds"
    assert good[f"{few}: length of the weights, when they generalise above when they fit"] == "holds"
    assert addition(experiment, solved=99.9)[experiment.SOLVES] == "fails"
    soon = addition(experiment, weak=known(experiment, 100, 300, observed=inside(50)))
    assert (soon[experiment.GROKS], soon[experiment.DECAY], soon[experiment.PERIODIC]) == ("fails",) * 3
    assert soon[f"{few}: Fourier share, when they generalise above when they fit"] == "undecided"
    never = addition(experiment, weak=known(experiment, 100, 0, observed=inside(800)), free=known(experiment, 100, 0))
    assert (never[experiment.GROKS], never[experiment.NEEDED], never[experiment.UNNEEDED]) == ("fails",) * 3
    assert addition(experiment, none=known(experiment, 100, 900, observed=inside(1)))[experiment.NEEDED] == "fails"
    assert addition(experiment, more=known(experiment, 100, 2000))[experiment.DATA] == "fails"


def test_digits_are_grokked_or_learned_at_once(experiment: ModuleType) -> None:
    def judged(large: Any, usual: Any, exact: Any) -> dict[str, str]:
        return verdicts(experiment.digit_claims({experiment.LARGE: large, experiment.USUAL: usual}, exact))

    lengths = np.linspace([300.0] * 17, [100.0] * 17, 301, axis=1)
    late, soon = known(experiment, 200, 2000, 90, lengths), known(experiment, 200, 210, 90, lengths)
    few = experiment.Curves(*(part if part.ndim < 2 else part[:4] for part in late[:4]), late.diverged[:4])
    other = few._replace(test=few.test - np.linspace(30, 40, 4)[:, None])
    told = (experiment.LATE_DIGITS, experiment.AT_ONCE, experiment.ROUNDING)
    at_once = soon._replace(
        test=np.where(soon.train > 50, 90.0, 10.0) + np.random.default_rng(0).normal(size=(17, 301))
    )
    good = judged(late, at_once, few._replace(test=few.test + 0.01 * np.arange(4)[:, None]))
    assert {name: good[name] for name in told} == dict.fromkeys(told, "holds")
    bad = judged(soon, late, other)
    assert {name: bad[name] for name in told} == dict.fromkeys(told, "fails")


def test_each_activation_has_its_better_decay(experiment: ModuleType) -> None:
    relu = [known(experiment, 100, 0), known(experiment, 100, 1600), known(experiment, 100, 2000)]
    quick, slow = [known(experiment, 100, ends) for ends in (400, 900, 900)], [known(experiment, 100, 2500)] * 3
    claims, chosen = experiment.activation_claims({"ReLU": relu, "GELU": quick})
    assert (chosen["ReLU"], chosen["GELU"]) == (relu[1], quick[0])
    assert {claim.seeds for claim in claims} == {8}
    found = verdicts(claims)
    assert (found[experiment.FASTER], found["steps to generalise, ReLU over GELU"]) == ("undecided", "holds")
    found = verdicts(experiment.activation_claims({"ReLU": relu, "GELU": slow})[0])
    assert found[experiment.FASTER] == "fails"


def test_experiment_keeps_the_contract(experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On curves that are known."""

    def on_pairs(_what: str, _model: Any, _recipe: Any, _share: float, seeds: int, over: Any) -> list[Any]:
        (values,) = over.values()
        observed = {name: part[:seeds] for name, part in inside(800).items()}
        return [known(experiment, 100, 1500, observed=observed, seeds=seeds) for _ in values]

    def on_digits(_what: str, _size: Any, _scale: float, seeds: int, *_: Any, **__: Any) -> Any:
        return known(experiment, 100, 1500, observed=np.full((seeds, 301), 5.0), seeds=seeds)._replace(
            diverged=np.zeros(seeds, bool)
        )

    monkeypatch.setattr(experiment, "on_pairs", on_pairs)
    monkeypatch.setattr(experiment, "on_digits", on_digits)
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    figures = []
    draw = experiment.draw
    monkeypatch.setattr(experiment, "draw", lambda *parts: figures.append(draw(*parts)) or figures[0])
    run_experiment("grokking", "", experiment.body, 8, 8, ["--quick", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["config"]["networks"] == 5 * 8 + 2 * 2 + 1 + 6 * 4
    labelled(figures[0])
    assert {"ridge 1e-08", "start times 8", "GELU", "generalise"} <= labels(figures[0])
    with pytest.raises(SystemExit):
        run_experiment("grokking", "", experiment.body, 3, 3, ["--quick", "--out", str(tmp_path)])
