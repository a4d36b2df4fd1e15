"""The convexity experiment, on few seeds: what the definitions say of a convex loss and of a network's."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import MLP, Split, UserError, load
from mlpjax.claims import run_experiment
from mlpjax.landscape.convexity import Chord, Curvatures

LOOSE = jax.numpy_dtype_promotion("standard")
"""With 64 bits, optax's L-BFGS adds integers of two kinds."""


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("convexity")


def small(experiment: ModuleType) -> dict[str, Any]:
    """A convex problem and one that is not, on 60 points of 5 features."""
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    classes = np.random.default_rng(1).integers(0, 3, 60).astype(np.int32)
    few = Split(x, classes)
    return {
        "softmax regression": experiment.Problem(MLP((5, 3)), "cross_entropy", few),
        experiment.NETWORK: experiment.Problem(MLP((5, 4, 3), "tanh"), "cross_entropy", few),
    }


def test_descents_of_a_convex_loss_end_at_the_same_optimum(experiment: ModuleType) -> None:
    """Softmax regression in NumPy: at the end its gradient, X'(softmax - Y) / n + 2 ridge W, is zero."""
    with jax.enable_x64(True), LOOSE:
        problem = small(experiment)["softmax regression"]
        ends = experiment.descend(problem, jax.random.split(jax.random.key(1), 3), "test")
    inputs = np.hstack([problem.data.x.astype(np.float64), np.ones((60, 1))])
    assert (ends.gradient <= experiment.STILL).all()
    above = ends.above(experiment.STRONG)
    assert (ends.loss - ends.loss.min() <= above).all()
    assert (above < 1e-13).all()
    for kernel, bias in zip(ends.params["dense_0"]["kernel"], ends.params["dense_0"]["bias"], strict=True):
        weights = np.vstack([kernel, bias])
        softmax = np.exp(inputs @ weights)
        softmax /= softmax.sum(axis=1, keepdims=True)
        gradient = inputs.T @ (softmax - np.eye(3)[problem.data.y]) / 60 + 2 * experiment.RIDGE * weights
        np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_shuffled_units_are_the_same_function_at_another_point(experiment: ModuleType) -> None:
    model = MLP((5, 4, 3), "tanh", bias="same")
    params = model.init(jax.random.key(0)).params
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)), jnp.float32)
    other = experiment.shuffled(params)
    outputs = (model.activations(network, x)[-1] for network in (other, params))
    np.testing.assert_allclose(*outputs, rtol=1e-5)
    assert np.abs(other["dense_0"]["kernel"] - params["dense_0"]["kernel"]).max() > 0.1


def test_coarse_pixels_are_means_of_blocks(experiment: ModuleType) -> None:
    image = np.arange(784, dtype=np.float32).reshape(1, 28, 28) % 256
    found = experiment.coarse(Split(image.reshape(1, 784).astype(np.uint8), np.array([3], np.int32)), 14)
    np.testing.assert_allclose(found.x[0, 15], image[0, 2:4, 2:4].mean() / 255, rtol=1e-6)


def test_an_end_is_no_further_above_the_minimum_than_its_bound(experiment: ModuleType) -> None:
    """L = mu / 2 ||x||^2 + 3, where the bound is reached, and for a larger curvature not."""
    x, mu = np.array([[0.3, -0.4], [1e-3, 0.0]]), 0.7
    loss, length = mu / 2 * (x**2).sum(axis=1) + 3, mu * np.linalg.norm(x, axis=1)
    above = experiment.Ends({}, loss, length).above(mu)
    np.testing.assert_allclose(above, loss - 3, rtol=1e-6)
    assert (above > loss - 3).all()


def test_claims_of_regressions_fail_by_one_counterexample(experiment: ModuleType) -> None:
    problem, seeds = small(experiment)["softmax regression"], 20
    few = np.zeros((seeds, 5), bool)
    found = Chord(few + 0.1, few + 0.1, few + 1.0, few, few)
    values = np.tile(np.linspace(1, 2, 18), (seeds, 1))
    values[:, :6] = 1e-17
    bends = Curvatures(values, None, np.full(seeds, 1e-14))

    def verdicts(found: Chord, bends: Curvatures, along: np.ndarray) -> dict[str, str]:
        chord = Chord(*[leaf[:, 0] for leaf in found])._replace(violates=along)
        claims = experiment.claims_of_regression("r", problem, found, bends, chord)
        return {claim.name.removeprefix("r: "): claim.verdict for claim in claims if claim.theorem}

    one = few.copy()
    one[3, 2] = True
    good = verdicts(found, bends, few[:, 0])
    assert len(good) == 5 and set(good.values()) == {"holds"}
    low, full = values.copy(), values.copy()
    low[7, 0], full[5, 5] = -1e-9, 0.5
    for name, bad in {
        "no chord below the curve": verdicts(found._replace(violates=one), bends, few[:, 0]),
        "no tangent above the curve": verdicts(found._replace(violates_tangent=one), bends, few[:, 0]),
        "no chord along the least curvature below the curve": verdicts(found, bends, one[:, 2]),
        "no curvature below 0": verdicts(found, bends._replace(values=low), few[:, 0]),
        "at least 6 curvatures of 0": verdicts(found, bends._replace(values=full), few[:, 0]),
    }.items():
        failed = {what for what, verdict in bad.items() if verdict == "fails"}
        # A curvature below 0 is one of 0 less.
        assert failed == {name} | ({"at least 6 curvatures of 0"} if name == "no curvature below 0" else set())


def test_one_minimum_is_told_from_two(experiment: ModuleType) -> None:
    params = {"w": np.tile([1.0, 2.0], (20, 1)) + 1e-7 * np.arange(20)[:, None]}
    ends = experiment.Ends(params, np.full(20, 3.0), np.full(20, 1e-8))
    _, low, near, _ = experiment.claims_of_one_minimum("r", ends)
    assert (low.verdict, near.verdict) == ("holds", "holds")
    apart = {"w": params["w"] + 2e-5 * (np.arange(20) == 4)[:, None]}
    high = ends.loss + 1e-12 * (np.arange(20) == 6)
    _, low, near, _ = experiment.claims_of_one_minimum("r", ends._replace(params=apart, loss=high))
    assert low.measured == 95 and low.verdict == "fails"
    assert near.measured == 0 and near.verdict == "fails"  # each lies too far from the one that lies apart


def test_pairs_count_where_both_are_certified_minima(experiment: ModuleType) -> None:
    """Two pairs at different minima, one at the same, and one with an end that may be a saddle."""
    loss = np.array([1.0, 1.001, 1.0, 1.002, 1.0, 1.0 + 1e-15, 1.0, 2.0])
    certified = np.array([True] * 6 + [True, False])
    ends = experiment.Ends({}, loss, np.full(8, 1e-13))
    claims = experiment.claims_of_minima(experiment.Minima(ends, np.full(8, 1e-4), certified))
    share, different, least, gap, _ = claims
    assert share.measured == pytest.approx(87.5)
    assert (different.seeds, different.left_out) == (3, 1)
    assert different.measured == pytest.approx(200 / 3)
    assert (different.published, different.relation) == (50, "above")
    assert (least.seeds, least.measured) == (7, pytest.approx(1e-4))
    assert gap.measured == pytest.approx(0.001)


def test_an_odd_seed_has_no_partner(experiment: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seeds 3: give an even number"):
        experiment.settle(load("mnist5k").train, 3, 5, tmp_path)


@pytest.mark.slow
def test_small_problems_settle(experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = small(experiment)
    monkeypatch.setattr(experiment, "make_problems", lambda digits: problems)

    def body(seeds: int, _quick: bool, out: Path) -> Any:
        with jax.enable_x64(True), LOOSE:
            return experiment.settle(load("mnist5k").train, seeds, 5, out)

    run_experiment("convexity", "", body, 4, 4, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    theorems = [claim for claim in results["claims"] if claim["theorem"]]
    assert len(theorems) == 5 + 2 + 2
    strength = "linear regression: strength of the flattest chord"
    assert all(claim["measured"] == 100 for claim in theorems if claim["name"] != strength)
    assert claims[strength]["verdict"] == "holds"
    assert claims["softmax regression: at least 6 curvatures of 0"]["measured"] == 100
    assert claims["network: middle above the chord, own units reversed"]["measured"] == 100
    assert claims["network: the chord along the least curvature below the curve"]["measured"] == 100
    assert claims["network: ends that are certified strict minima"]["measured"] == 100
    assert (tmp_path / "convexity.png").stat().st_size > 10_000
