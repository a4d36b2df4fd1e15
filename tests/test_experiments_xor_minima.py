"""The experiment on XOR's minima: its loss by hand, known ends, and its contract."""

import json
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax import Batch
from mlpjax.claims import run_experiment
from mlpjax.landscape.minima import Certificate, Kind, Polished, classify, in_float64


@pytest.fixture(scope="module")
def xor() -> ModuleType:
    return load_experiment("xor_minima")


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def four_points(xor: ModuleType) -> Batch:
    return Batch(*jax.tree.map(jnp.asarray, in_float64((*xor.CORNERS, np.ones(4, np.float32)))))


def make_params(w: np.ndarray, b: np.ndarray, v: np.ndarray, c: float) -> dict:
    layers = {"dense_0": {"kernel": w, "bias": b}, "dense_1": {"kernel": v[:, None], "bias": np.array([c])}}
    return jax.tree.map(jnp.asarray, layers)


@pytest.mark.parametrize(("name", "low", "high"), [("targets 0 and 1", 0.0, 1.0), ("targets 0.1 and 0.9", 0.1, 0.9)])
def test_loss_is_the_mean_squared_error_from_the_targets(xor: ModuleType, name: str, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    w, b, v, c = rng.standard_normal((2, 2)), rng.standard_normal(2), rng.standard_normal(2), 0.3
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    outputs = sigmoid(sigmoid(corners @ w + b) @ v + c)
    with jax.enable_x64(True):
        loss = xor.SETTINGS[name].loss(make_params(w, b, v, c), four_points(xor))
    assert float(loss) == pytest.approx(np.mean((outputs - np.array([low, high, high, low])) ** 2), rel=1e-14)


def test_equal_outputs_at_zero_weights_are_a_saddle_or_degenerate(xor: ModuleType) -> None:
    """All weights zero: stationary, every output 1/2; Sprinkhuizen-Kuyper and Boers (1998) call it a saddle."""
    with jax.enable_x64(True):
        params = make_params(np.zeros((2, 2)), np.zeros(2), np.zeros(2), 0.0)
        loss = xor.SETTINGS["targets 0 and 1"].loss
        found = jax.jit(partial(classify, loss))(params, four_points(xor))
    assert float(found.loss) == 0.25
    assert found.kind in (Kind.SADDLE, Kind.DEGENERATE)


@pytest.fixture(scope="module")
def results(xor: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("xor_minima")
    run_experiment("xor_minima", str(xor.__doc__), xor.body, 100_000, 2000, ["--seeds", "100", "--out", str(out)])
    assert (out / "xor_minima.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_experiment_keeps_the_contract(results: dict) -> None:
    claims = {claim["name"]: claim for claim in results["claims"]}
    for name in ("targets 0 and 1", "targets 0.1 and 0.9"):
        assert claims[f"{name}: solved by training"]["measured"] > 80
        assert claims[f"{name}: good after polishing"]["measured"] > 80
        none = [claim for what, claim in claims.items() if what.startswith(f"{name}: no bad end")]
        assert [claim["verdict"] for claim in none] == ["holds"] * 3
        assert [claim["theorem"] for claim in none] == [True, False, False]
        shares = [end["share, with ci95"][0] for end in results["config"][name]["ends"]]
        assert sum(shares) == pytest.approx(1)
    five = claims["targets 0.1 and 0.9: a good end has 5 flat directions"]
    assert five["verdict"] == "holds"
    assert 80 < five["seeds"] < 100 == five["seeds"] + five["left_out"]
    assert len([claim for claim in claims.values() if claim["settles"]]) == 1


def make_ends(xor: ModuleType, kinds: list[Kind], losses: list[float], stood: list[bool]) -> Any:
    """Ends of which only these are known, and whose outputs differ as the losses do."""
    empty = np.zeros(len(kinds))
    certificate = Certificate(np.array(kinds), np.array(losses), *[empty] * 8)._replace(flat=np.full(len(kinds), 5))
    polished = Polished({}, *[empty] * 5)
    outputs = np.array(losses)[:, None] * np.ones(4)
    return xor.Ends(certificate, empty == 0, np.array(stood), polished, certificate, outputs)


def test_either_limit_has_its_own_count(xor: ModuleType) -> None:
    kinds = [Kind.DEGENERATE, Kind.RUNAWAY, Kind.RUNAWAY, Kind.DEGENERATE, Kind.NOT_STATIONARY]
    ends = make_ends(xor, kinds, [0.0, 0.2, 0.2, 0.3, 0.4], [True, False, True, True, True])
    name = "targets 0.1 and 0.9"
    claims = {claim.name.split(":")[1][1:]: claim for claim in xor.claims_of(name, ends)}
    assert claims["no bad end is a certified strict minimum"].measured == 100
    assert claims["no bad end is stationary to 1e-10"].measured == 40
    assert claims["no bad end is stationary to 1e-12 (limit set after a first run)"].measured == 80
    assert claims["not stationary within the budget"].measured == 20
    assert xor.note(name, ends).startswith(f"{name}: 3 bad ends")
    assert xor.note(name, ends).endswith(
        "1 count as stationary, 1 as on their way to infinity, and 1 did not get there."
    )


def test_a_bad_strict_minimum_refutes_the_theorem(xor: ModuleType) -> None:
    ends = make_ends(xor, [Kind.MINIMUM] + [Kind.RUNAWAY] * 30, [0.2] * 31, [True] + [False] * 30)
    strict = xor.claims_of("targets 0 and 1", ends)[2]
    assert (strict.verdict, strict.theorem) == ("fails", True)


def test_the_figure_says_which_ends_it_does_not_show_one_by_one(xor: ModuleType) -> None:
    losses = [0.01 * place for place in range(7) for _ in range(8 - place)]
    ends = make_ends(xor, [Kind.RUNAWAY] * len(losses), losses, [False] * len(losses))
    found = {name: (ends, xor.catalogue_of(ends)) for name in xor.SETTINGS}
    figure = xor.draw(found)
    labelled(figure)
    assert "bad" in texts(figure)
    rows = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert rows[4::5] == ["3 other ends,\nall together"] * 3
