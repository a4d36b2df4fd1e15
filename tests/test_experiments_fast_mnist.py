"""The experiment on fast training: its coordinates, its optimizers, what it chooses, and what it states."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import labelled, load_experiment, texts
from sklearn.decomposition import PCA

from mlpjax import MLP, Dataset, Recipe, Split, Trained, Variables, make_keys
from mlpjax.claims import MNIST, run_experiment
from mlpjax.recipe import make_optimizer


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("fast_mnist")


def test_components_are_those_of_scikit_learn(experiment: ModuleType, coarse_digits: Dataset) -> None:
    found = experiment.Components.of(coarse_digits.train.x, 5)
    x = coarse_digits.train.x.reshape(200, -1) / 255
    peer = PCA(5, svd_solver="full").fit(x)
    z = found.see(coarse_digits.test).x
    theirs = peer.transform(coarse_digits.test.x.reshape(100, -1) / 255)
    np.testing.assert_allclose(z * np.sign((z * theirs).sum(axis=0)), theirs, atol=1e-4)
    assert z.dtype == np.float32


def test_network_on_pixels_gives_what_that_on_components_gives(experiment: ModuleType, coarse_digits: Dataset) -> None:
    found, small = experiment.Components.of(coarse_digits.train.x, 5), MLP((5, 7, 10))
    params = small.init(make_keys(3).init).params
    params["dense_0"]["bias"] = jnp.arange(7.0)
    whole = found.unfold(params)
    assert whole["dense_0"]["kernel"].shape == (49, 7)
    pixels = jnp.asarray(coarse_digits.test.x.reshape(100, -1), jnp.float32) / 255
    outputs, _ = MLP((49, 7, 10)).apply(Variables(whole), pixels)
    wanted, _ = small.apply(Variables(params), jnp.asarray(found.see(coarse_digits.test).x))
    np.testing.assert_allclose(outputs, wanted, atol=1e-4)


def test_muons_step_is_nearly_orthogonal_and_as_long_as_the_rate(experiment: ModuleType) -> None:
    rng = np.random.default_rng(0)
    gradient = {"kernel": jnp.asarray(rng.normal(size=(12, 6)) * 10.0 ** -np.arange(6), jnp.float32)}
    optimizer = make_optimizer(Recipe(optimizer=experiment.muon, learning_rate=0.5), steps=10)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # optax's own code
        step = optimizer.update(gradient, optimizer.init(gradient), gradient)[0]["kernel"]
    values = np.linalg.svd(np.asarray(step), compute_uv=False) / 0.5
    assert values.max() < 1.3
    assert values[:3].min() > 0.6, values  # of a gradient whose own values fall tenfold from one to the next
    assert float((step * gradient["kernel"]).sum()) < 0


def test_floor_by_hand(experiment: ModuleType) -> None:
    # Forward, the weights' gradients, and the inputs' gradients of all layers but the first.
    forward = 784 * 256 + 256 * 128 + 128 * 10
    by_hand = 4 * forward + 2 * (256 * 128 + 128 * 10)
    assert experiment.flops_per_example((784, 256, 128, 10)) == by_hand
    assert 60_000 * by_hand / 1e9 == pytest.approx(60.4, abs=0.05)
    assert 60_000 * experiment.flops_per_example((64, 256, 128, 10)) / 1e9 == pytest.approx(16.2, abs=0.05)
    free = 64 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10
    assert (free, free + (784 - 64) * 256) == (50_826, 235_146)
    for figure in ("60.4 GFLOP", "16.2 GFLOP", "50,826", "235,146"):
        assert figure in " ".join(experiment.__doc__.split())


def test_shortest_is_the_fastest_that_is_good_enough(experiment: ModuleType) -> None:
    error = np.array([[2.0, 2.2, 0.0], [1.9, 1.7, 9.0], [1.5, 1.7, 9.0], [1.0, 1.0, 9.0]])
    seconds = np.array([[0.1, 0.1, 0.1], [0.4, 0.2, 9.0], [0.2, 0.3, 9.0], [0.5, 0.5, 0.1]])
    curve = experiment.Curve(seconds, error)
    first = slice(2)
    assert experiment.shortest(curve, 2.1, first) == 0
    assert experiment.shortest(curve, 1.8, first) == 2  # the second, at 1.8 as well, takes 0.3 s
    assert experiment.shortest(curve, 1.2, first) == 3
    assert experiment.shortest(curve, 0.9, first) is None


def curves(experiment: ModuleType, names: list[str], seeds: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def about(means: list[float]) -> np.ndarray:
        return np.array(means)[:, None] + rng.uniform(-0.01, 0.01, (len(means), seeds))

    return {
        name: experiment.Curve(about([0.2, 0.4, 2.0]), about([3.0, 1.7, 1.4]) + 0.02 * place)
        for place, name in enumerate(names)
    }


def test_wanted_seconds_are_judged_by_the_other_half_of_the_seeds(experiment: ModuleType) -> None:
    found = curves(
        experiment, [experiment.RELEASED, *(name for name in experiment.WAYS if name != experiment.RELEASED)], 8
    )
    found[experiment.ONE_CYCLE].error[:] += 0.2
    found[experiment.RELEASED].error[1, 4:] += 0.2  # which chose by the first half
    claims, notes = experiment.claims_of(found, (1, 2, 3), experiment.WANTED, True)
    by_name = {claim.name: claim for claim in claims}
    name = experiment.RELEASED
    half = by_name[f"{name}: seconds a seed until 1.8 % (2 epochs)"]
    assert (half.published, half.relation, half.verdict, half.seeds) == (0.5, "at most", "holds", 4)
    assert half.settles
    assert by_name[f"{name}: test error of the shortest training to 1.8 %"].verdict == "fails"
    whole = by_name[f"{name}: seconds a seed until 1.5 % (3 epochs)"]
    assert (whole.published, whole.verdict) == (1.0, "fails")
    assert by_name[f"{experiment.ADAMW}: seconds a seed until 1.8 % (2 epochs)"].settles == ""
    never = f"{experiment.ONE_CYCLE}: no training of up to 3 epochs erred on at most 1.5 %."
    assert never in notes and f"{name}: no training of up to 3 epochs erred on at most 1.5 %." not in notes
    gap = by_name[f"2 epochs: test error, {experiment.ONE_CYCLE} above {experiment.ADAMW}"]
    assert (gap.measured, gap.verdict) == (pytest.approx(0.18, abs=0.02), "holds")


def test_seconds_are_those_of_training(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Periods less starts, and a share of finding the components; the last epoch goes on from the network unfolded."""
    train_many, seen, histories = experiment.train_many, experiment.seen, []

    def timed(*args: Any, **options: Any) -> Trained:
        trained = train_many(*args, **options)
        histories.append(100 * (1 - trained.history["test_accuracy"].astype(float)))
        return trained._replace(history=trained.history | {"seconds": np.array([[1.0, 5.0], [1.0, 5.0], [2.0, 9.0]])})

    monkeypatch.setattr(experiment, "HIDDEN", (4, 3))
    monkeypatch.setattr(experiment, "train_many", timed)
    monkeypatch.setattr(experiment, "seen", lambda *args: (*seen(*args)[:2], 6.0))
    recipe = Recipe(batch_size=50, learning_rate=0.03)
    curve = experiment.train(
        experiment.Way("red", recipe, 5, recipe), coarse_digits, (3,), 3, tmp_path, lambda done, total: None
    )
    np.testing.assert_allclose(curve.seconds, [[10.0, 10.0, 16.0]])
    on_components, on_pixels = histories
    np.testing.assert_allclose(on_pixels[:, 0], on_components[:, -1], atol=1.01)  # rounding may turn a digit
    np.testing.assert_allclose(curve.error[0], on_pixels[:, -1], atol=0.01)
    assert len(set(on_components[:, -1])) > 1


def test_experiment_keeps_the_contract(
    experiment: ModuleType,
    coarse_digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [*experiment.WAYS, *(experiment.PYTORCH + name for name in experiment.PEERS)]
    found = curves(experiment, names, 4)
    found |= {name: experiment.Curve(*(part[1:2] for part in curve)) for name, curve in found.items()}
    ways = {way: name for name, way in experiment.WAYS.items()}
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    monkeypatch.setattr(experiment, "train", lambda way, *_: found[ways[way]])
    monkeypatch.setattr(experiment, "train_torch", lambda way, *_: found[experiment.PYTORCH + ways[way]])
    monkeypatch.setattr(experiment, "png", lambda _: b"")
    for installed in (False, True):
        (tmp_path / "checkpoints").mkdir()
        monkeypatch.setattr(experiment, "find_spec", lambda _, found=installed: found or None)
        run_experiment("fast_mnist", "", experiment.body, 4, 4, ["--quick", "--out", str(tmp_path)], needs=MNIST)
        results = json.loads((tmp_path / "results.json").read_text())
        claims = {claim["name"]: claim for claim in results["claims"]}
        assert {claim["verdict"] for claim in claims.values()} == {"new"}  # nothing was wanted of 5,000 digits
        assert any(name.startswith("PyTorch, ") for name in claims) == installed
        assert (experiment.NO_TORCH in results["config"]["notes"]) != installed
        assert (experiment.NO_TORCH in capsys.readouterr().out) != installed
    share = claims[f"{experiment.ADAMW}: share of the machine's float32 rate"]["measured"]
    flops = 200 * 6 * experiment.flops_per_example((49, 256, 128, 10))
    assert share == pytest.approx(100 * flops / found[experiment.ADAMW].seconds[-1].mean() / 200e9, rel=0.01)
    figure = experiment.draw(found, (6,), experiment.WANTED, True)
    labelled(figure)
    assert "planning, with AMX" in texts(figure)
    with pytest.raises(ValueError, match="give at least 4"):
        experiment.settle(coarse_digits, (1,), {1.0: 1.0}, 3, tmp_path, False)


def test_pytorch_learns_as_well(experiment: ModuleType, coarse_digits: Dataset) -> None:
    pytest.importorskip("torch")

    def floats(split: Split) -> Split:
        return Split(split.x.reshape(len(split.x), -1).astype(np.float32) / 255, split.y.astype(np.int64))

    experiment.torch_start(floats(coarse_digits.train), floats(coarse_digits.test))
    seconds, error = experiment.torch_train(0, np.full(16, 3e-3), 2, experiment.COSINE)
    assert seconds > 0
    assert error < 60
