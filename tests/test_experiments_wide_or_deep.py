"""Wide or deep: budgets by counting, products by formula, and the signal's factor where theory has it."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from conftest import labelled, load_experiment

from mlpjax import MLP, Dataset, Trained, count_parameters
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("wide_or_deep")


def test_experiment_trains_draws_and_states(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "DIGITS_BUDGET", 1000)
    monkeypatch.setattr(experiment, "COLOURS", {"relu": "C0", "sigmoid": "C1"})
    monkeypatch.setattr(experiment, "SIGNAL_DEPTH", 2)
    products = experiment.products
    monkeypatch.setattr(experiment, "products", lambda factors, _: products(factors, 200))

    def body(seeds: int, _quick: bool, out: Path) -> Any:
        return experiment.settle(coarse_digits, (4,), ((1, 2), (2,)), (2, 2), seeds, out)

    run_experiment("wide_or_deep", "", body, 2, 2, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    headlines = [name for name, claim in claims.items() if claim["settles"]]
    assert headlines == [
        "digits: test error, depth 2 above depth 1",
        "digits: test loss above training loss, depth 2 more than depth 1",
        "signal, relu: variance at which it neither vanishes nor explodes",
        "signal, sigmoid: vanishes at every variance",
    ]
    assert claims["signal, sigmoid: vanishes at every variance"]["measured"] == 100
    assert results["config"]["networks"]["digits"] == [[49, 16, 10], [49, 13, 13, 10]]
    assert (tmp_path / "wide_or_deep.png").stat().st_size > 10_000


def test_networks_of_a_budget_have_as_many_parameters_as_fit(experiment: ModuleType) -> None:
    key = jax.random.key(0)
    for depth in (1, 3, 8):
        widths = experiment.equal_widths(784, 10, depth, 100_000)
        wider = (784, *[widths[1] + 1] * depth, 10)
        ours, more = (sum(count_parameters(jax.eval_shape(MLP(w).init, key).params)) for w in (widths, wider))
        assert ours == experiment.parameters(widths)
        assert ours <= 100_000 < more
        assert len(widths) == depth + 2


def test_products_are_products_of_variance_1(experiment: ModuleType) -> None:
    dataset = experiment.products(4, 20_000)
    np.testing.assert_allclose(
        dataset.train.y[:, 0],
        np.exp(np.log(np.abs(dataset.train.x)).sum(axis=1)) * np.sign(dataset.train.x).prod(axis=1),
        rtol=1e-4,
    )
    assert float(np.var(dataset.train.y)) == pytest.approx(1, abs=0.05)
    assert (len(dataset.train.y), len(dataset.test.y)) == (20_000, 10_000)


def test_a_tree_multiplies_the_better_the_smaller_its_inputs(experiment: ModuleType) -> None:
    """Its error falls as their square, as that of a function which is a square but for terms of fourth order."""
    coarse, fine = (experiment.tree_error(8, size) for size in (0.2, 0.1))
    assert coarse / fine == pytest.approx(4, rel=0.1)
    assert experiment.multiply(np.array([3.0]), np.array([-2.0]), 1e-3) == pytest.approx(-6, rel=1e-5)


def test_the_signal_of_linear_layers_grows_as_theory_says(
    experiment: ModuleType, coarse_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a kink the factor is sigma_w, so twice the variance multiplies it by the square root of 2."""
    monkeypatch.setattr(experiment, "SIGNAL_DEPTH", 3)
    factors = experiment.signal_factors(coarse_digits, "identity", (1.0, 4.0), 3)
    np.testing.assert_allclose(factors[1] / factors[0], 2, rtol=0.2)
    np.testing.assert_allclose(factors[0], 1, atol=0.15)


def test_the_crossing_lies_where_the_factor_is_1(experiment: ModuleType) -> None:
    variances = np.array([0.5, 1.0, 3.0, 4.0])
    factors = np.stack([np.sqrt(variances / 2), np.sqrt(variances / 8)], axis=1)
    found = experiment.crossing(variances, factors)
    assert found[0] == pytest.approx(2)
    assert np.isnan(found[1])


def test_claims_by_known_figures_and_the_figure(experiment: ModuleType) -> None:
    rng, seeds = np.random.default_rng(0), 16

    def trained(**finals: float) -> Trained:
        history = {
            name: np.tile(value + rng.normal(0, 1e-6, (seeds, 1)), (1, 2)).astype(np.float32)
            for name, value in finals.items()
        }
        return Trained(np.arange(seeds), {}, history)

    one = trained(test_accuracy=0.97, train_accuracy=0.99, test_loss=0.3, train_loss=0.1)
    two = trained(test_accuracy=0.98, train_accuracy=0.99, test_loss=0.4, train_loss=0.1)
    claims = {claim.name: claim for claim in experiment.digit_claims({1: one, 2: two})}
    better = claims["digits: test error, depth 2 above depth 1"]
    assert (better.measured, better.verdict) == (pytest.approx(-1, abs=1e-3), "holds")
    worse = claims["digits: test loss above training loss, depth 2 more than depth 1"]
    assert (worse.measured, worse.verdict) == (pytest.approx(0.1, abs=1e-4), "fails")
    products = {
        1: trained(test_r2=0.5, train_r2=0.7, test_loss=0.5),
        2: trained(test_r2=0.9, train_r2=0.95, test_loss=0.1),
    }
    measured = [claim.measured for claim in experiment.product_claims(4, products)]
    assert measured == pytest.approx([50, 30, 10, 5, -40], abs=1e-2)
    factors = np.sqrt(np.array(experiment.VARIANCES) / 2)[:, None] * rng.normal(1, 1e-3, (1, seeds))
    signals = {"relu": factors, "tanh": factors, "sigmoid": factors / 4}
    claims = {claim.name: claim for claim in experiment.signal_claims(experiment.VARIANCES, signals)}
    assert claims["signal, relu: variance at which it neither vanishes nor explodes"].verdict == "holds"
    assert claims["signal, relu, variance 4: factor per layer"].published == pytest.approx(np.sqrt(2))
    assert claims["signal, sigmoid, variance 4: factor per layer"].published == pytest.approx(0.5)
    assert {claim.verdict for name, claim in claims.items() if "tanh" not in name} == {"holds"}
    labelled(experiment.draw({1: one, 2: two}, {4: products}, experiment.VARIANCES, signals))
