"""The experiment on bias and variance: its estimates beside closed forms, and claims that come out either way."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax import MLP, Dataset, Recipe, train_many
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("bias_variance")


@pytest.fixture(scope="module")
def means(experiment: ModuleType) -> Callable[[Any], dict[str, float]]:
    """The estimates of all parts of the squared error."""
    return lambda seen: {part: experiment.part_of(seen, part).mean() for part in experiment.SQUARED_PARTS}


def see(experiment: ModuleType, residuals: np.ndarray, noise: float = 0.0) -> Any:
    """What is kept of residuals [D, S, points], as those of one output."""
    target = np.linspace(-1, 1, residuals.shape[2])[:, None]
    fit = np.zeros(residuals.shape[0] * residuals.shape[1])
    return experiment.see(residuals[..., None] + target, target, np.zeros(0, int), fit, noise)


def drawn(bias: float, sets: float, seeds: float, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Gaussian residuals [D, S, points] with known parts, independent from point to point."""
    rng = np.random.default_rng(seed)
    of_set = np.sqrt(sets) * rng.normal(size=(shape[0], 1, shape[2]))
    return np.sqrt(bias) + of_set + np.sqrt(seeds) * rng.normal(size=shape)


def test_parts_are_those_of_the_analysis_of_variance(
    experiment: ModuleType, means: Callable[[Any], dict[str, float]]
) -> None:
    """Seeds nested in sets: mean squares between and within, for each test point."""
    residuals = drawn(0.1, 0.5, 0.7, (5, 3, 40))
    of_set = residuals.mean(axis=1)
    between, within = 3 * of_set.var(axis=0, ddof=1).mean(), residuals.var(axis=1, ddof=1).mean()
    found = means(see(experiment, residuals))
    assert found[experiment.SEEDS] == pytest.approx(within)
    assert found[experiment.SETS] == pytest.approx((between - within) / 3)
    assert found[experiment.BIAS] == pytest.approx((of_set.mean(axis=0) ** 2).mean() - between / 15)
    assert found[experiment.ERROR] == pytest.approx((residuals**2).mean())


def test_known_parts_are_found_whatever_the_numbers_of_sets_and_seeds(
    experiment: ModuleType, means: Callable[[Any], dict[str, float]]
) -> None:
    """Over 40,000 test points the estimates of a few sets are near what is true; plain means of squares are not."""
    for sets, seeds in ((3, 2), (4, 5)):
        found = means(see(experiment, drawn(0.09, 0.25, 0.5, (sets, seeds, 40_000))))
        for part, true in zip((experiment.BIAS, experiment.SETS, experiment.SEEDS), (0.09, 0.25, 0.5), strict=True):
            assert found[part] == pytest.approx(true, abs=0.01)


def test_parts_add_up_for_every_set_and_noise_comes_on_top(experiment: ModuleType) -> None:
    seen = see(experiment, drawn(0.2, 0.1, 0.3, (6, 4, 20_000)), 0.5)
    bias, sets, seeds, both, error = (
        experiment.part_of(seen, part)
        for part in (experiment.BIAS, experiment.SETS, experiment.SEEDS, experiment.VARIANCE, experiment.ERROR)
    )
    np.testing.assert_allclose(bias + sets + seeds, error)
    np.testing.assert_allclose(sets + seeds, both)
    np.testing.assert_allclose(seen.measured, error + 0.25, rtol=0.02)
    axis = experiment.Axis(experiment.REGRESSION, experiment.WIDTH, (1, 2), [seen, seen])
    assert experiment.sum_claim(axis).verdict == "holds"
    off = experiment.Axis(experiment.REGRESSION, experiment.WIDTH, (1, 2), [seen._replace(measured=error + 0.3)] * 2)
    assert experiment.sum_claim(off).verdict == "fails"


def test_linear_networks_have_the_parts_of_their_closed_form(experiment: ModuleType) -> None:
    """Gradient descent on ridge regression from random starts, on targets whose noise is a set's: all is linear.

    w_t = M^t w_0 + (I - M^t) A^-1 X'y / n with A = X'X / n + ridge I and M = I - rate A.
    """
    rng = np.random.default_rng(1)
    n, features, points, sets, seeds, noise, scale = 12, 5, 30, 200, 4, 0.8, 0.6
    design, held, true = (rng.normal(size=shape) for shape in ((n, features), (points, features), features))
    curvature = design.T @ design / n + 0.3 * np.eye(features)
    kept = np.linalg.matrix_power(np.eye(features) - 0.1 * curvature, 8)
    learned = (np.eye(features) - kept) @ np.linalg.solve(curvature, design.T / n)  # of the targets
    closed = {
        experiment.BIAS: ((held @ (learned @ design - np.eye(features)) @ true) ** 2).mean(),
        experiment.SETS: noise**2 * ((held @ learned) ** 2).sum(axis=1).mean(),
        experiment.SEEDS: scale**2 * ((held @ kept) ** 2).sum(axis=1).mean(),
    }
    targets = design @ true + noise * rng.normal(size=(sets, 1, n))
    weights = np.broadcast_to(scale * rng.normal(size=(sets, seeds, features)), (sets, seeds, features))
    for _ in range(8):
        slope = (weights @ design.T - targets) @ design / n + 0.3 * weights
        weights = weights - 0.1 * slope
    seen = see(experiment, (weights - true) @ held.T)
    for part, value in closed.items():
        found = experiment.part_of(seen, part)
        error = found.std(ddof=1) / np.sqrt(sets)
        assert abs(found.mean() - value) < 4 * error, part
        assert 4 * error < 0.6 * value, part


def test_parts_of_the_0_1_loss_are_domingos_s(experiment: ModuleType) -> None:
    """Error = bias + what leaving the main prediction costs - where it helps; counted one network at a time."""
    rng = np.random.default_rng(2)
    labels = rng.integers(4, size=60)
    outputs = rng.normal(size=(5, 3, 60, 4)) + 1.2 * np.eye(4)[labels]
    seen = experiment.see(outputs, np.eye(4)[labels], labels, np.zeros(15), 0.0)
    said = outputs.argmax(axis=3).reshape(15, 60)
    main = np.array([np.bincount(column, minlength=4).argmax() for column in said.T])
    leaves, right = said != main, main == labels
    cost, helps = (leaves & right).mean(), ((said == labels) & ~right).mean()
    found = experiment.zero_one(seen, np.arange(5))
    assert found[experiment.WRONG_BIAS] == pytest.approx(100 * (~right).mean())
    assert found[experiment.WRONG_VARIANCE] == pytest.approx(100 * leaves.mean())
    assert found[experiment.WRONG] == pytest.approx(100 * (said != labels).mean())
    assert found[experiment.WRONG] == pytest.approx(100 * ((~right).mean() + cost - helps))
    assert helps > 0
    np.testing.assert_allclose(
        experiment.part_of(seen, experiment.WRONG), 100 * (said != labels).reshape(5, -1).mean(axis=1)
    )


def test_friedmans_function_is_standardised(experiment: ModuleType) -> None:
    y = experiment.friedman(np.random.default_rng(0).random((200_000, 5)))
    assert abs(y.mean()) < 0.01
    assert y.std() == pytest.approx(1, abs=0.01)
    assert experiment.friedman(np.array([[0.5, 1, 0, 0.1, 0.2]]))[0, 0] == pytest.approx((17 - 14.41) / 4.88)


@pytest.mark.slow
def test_axes_are_of_the_networks_that_train_many_gives(experiment: ModuleType, coarse_digits: Dataset) -> None:
    """Errors of both kinds, at crossing places the same, each set's networks on the same examples."""
    size = {"steps": 8, "widths": (4,), "examples": (50, 100), "ridges": (0.1,), "width": 4, "size": 100}
    case = experiment.digits(experiment.SQUARED, coarse_digits, 50, **size)
    assert len(case.dataset.train.y) == len(coarse_digits.train.y) + len(coarse_digits.valid.y)
    assert len(case.target) == 50
    found = experiment.axes_of(case, 3, 2)
    assert [*found] == ["training examples", "epochs", "ridge penalty"]
    few, many = found["training examples"].seen
    without, penalised = found["ridge penalty"].seen
    assert many is without is found["epochs"].seen[-1]
    assert (abs(penalised.error - without.error) > 1e-3).all()
    for examples, seen in ((50, few), (100, many)):
        recipe = Recipe(
            "squared_error", learning_rate=0.003, batch_size=50, epochs=400 // examples, sample_size=examples
        )
        alone = train_many(
            MLP((49, 4, 10), initializer="torch", bias="same"),
            recipe,
            case.dataset,
            range(6),
            freeze={"sample": np.arange(6) // 2},
        )
        loss, error, fit = (
            values.reshape(3, 2, -1).mean(axis=1)
            for values in (10 * alone.history["test_loss"], alone.error(), alone.error("train"))
        )
        np.testing.assert_allclose(seen.error, loss[:, -1], rtol=1e-4)
        np.testing.assert_allclose(experiment.part_of(seen, experiment.WRONG), error[:, -1], atol=1e-3)
        np.testing.assert_allclose(seen.fit, fit[:, -1], atol=1e-3)
    course = np.stack([seen.error for seen in found["epochs"].seen], axis=1)
    np.testing.assert_allclose(course, loss[:, [*found["epochs"].places]], rtol=1e-4)


def known(experiment: ModuleType, case: str, name: str, places: tuple[float, ...], parts: list[Any]) -> Any:
    """An axis along which bias^2 and variance over sets and seeds are what is said, up to a little chance."""
    labels = np.zeros(200, int)
    seen = []
    for bias, sets, seeds in parts:
        residuals = drawn(bias, sets, seeds, (12, 3, 200))[..., None] * np.array([1.0, -1]) / np.sqrt(2)
        target = np.eye(2)[labels]
        seen.append(experiment.see(residuals + target, target, labels, np.zeros(36), 0.0))
    return experiment.Axis(case, name, places, seen)


def verdicts(claims: list[Any]) -> dict[str, str]:
    return {claim.settles: claim.verdict for claim in claims if claim.settles}


@pytest.mark.parametrize(
    ("variance", "falls", "unimodal", "rises"),
    [
        ((0.1, 0.3, 0.6, 0.2), "fails", "holds", "fails"),
        ((0.6, 0.4, 0.3, 0.2), "holds", "fails", "fails"),
        ((0.1, 0.2, 0.3, 0.5), "fails", "fails", "holds"),
    ],
)
def test_variance_by_the_width_is_one_of_the_three(
    experiment: ModuleType, variance: tuple[float, ...], falls: str, unimodal: str, rises: str
) -> None:
    parts = [(bias, v / 2, v / 2) for bias, v in zip((0.9, 0.6, 0.3, 0.1), variance, strict=True)]
    axis = known(experiment, experiment.DIGITS, experiment.WIDTH, (1, 4, 16, 64), parts)
    claims = experiment.width_claims(axis)
    found = verdicts(claims)
    assert found[f"{experiment.FALLS}: {experiment.DIGITS}."] == falls
    assert found[f"{experiment.UNIMODAL}: {experiment.DIGITS}."] == unimodal
    assert found["Variance rises with the width."] == rises
    assert found["Bias falls with the width."] == "holds"
    assert {claim.seeds for claim in claims if "the highest inside" in claim.name} == {6}


def test_claims_of_the_other_axes_come_out_either_way(experiment: ModuleType) -> None:
    up, down = [(0.1, 0.1, 0.1), (0.5, 0.3, 0.3)], [(0.5, 0.3, 0.3), (0.1, 0.1, 0.1)]
    more = [(0.5, 0.1, 0.1), (0.1, 0.3, 0.3)]
    rightly = {experiment.EXAMPLES: down, experiment.EPOCHS: more, experiment.RIDGE: more[::-1]}
    for name, parts in rightly.items():
        for order, verdict in ((parts, "holds"), (parts[::-1], "fails")):
            axis = known(experiment, experiment.DIGITS, name, (1, 2), order)
            found = verdicts(experiment.other_claims(axis))
            assert found == {told: verdict for (axis_name, _), told in experiment.SETTLES.items() if axis_name == name}
    axis = known(experiment, experiment.REGRESSION, experiment.EXAMPLES, (1, 2, 4), [down[0], up[0], (0.1, 0.2, 0.2)])
    claims = {claim.name: claim.verdict for claim in experiment.other_claims(axis)}
    told = "regression: variance, 4 above 2 training examples, the pair most against a fall"
    assert claims[told] == "fails"
    assert claims["regression: variance, 4 above 1 training examples"] == "holds"


def test_experiment_keeps_the_contract(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def axes_of(case: Any, *_: int) -> dict[str, Any]:
        parts = [(0.5, 0.1, 0.1), (0.3, 0.3, 0.3), (0.1, 0.2, 0.2)]
        names = (experiment.WIDTH, experiment.EXAMPLES, experiment.EPOCHS, experiment.RIDGE)
        return {
            name: known(
                experiment, case.name, name, (0.0, 0.1, 1.0) if name == experiment.RIDGE else (1, 10, 100), parts
            )
            for name in (names if case.ridges else names[:1])
        }

    drawn_figures = []
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    monkeypatch.setattr(experiment, "axes_of", axes_of)
    monkeypatch.setattr(experiment, "png", lambda figure: drawn_figures.append(figure) or b"")
    run_experiment(
        "bias_variance", "", experiment.body, 12, 12, ["--quick", "--out", str(tmp_path)], needs=experiment.MNIST
    )
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    peak = claims["digits, squared error: variance, 10 above 100 hidden units, the highest inside"]
    assert (peak["verdict"], peak["seeds"]) == ("holds", 6)
    assert results["config"]["networks"] == 12 * 3 * 13
    for figure in drawn_figures:
        labelled(figure)
    assert {"variance over sets", "0-1 variance", "digits, squared error: 0-1 loss"} <= set(
        texts(drawn_figures[0]).splitlines()
    )
    with pytest.raises(SystemExit):
        run_experiment(
            "bias_variance", "", experiment.body, 5, 5, ["--quick", "--out", str(tmp_path)], needs=experiment.MNIST
        )
