"""The experiment on smooth activations: how it trains and attacks, and what it states of accuracies that are known."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax import MLP, Dataset, Recipe, Split, Variables, adversarial, make_task, train_many
from mlpjax.attacks import pgd
from mlpjax.claims import run_experiment

SEEDS = 17
PAPER = ("parametric_softplus", "swish", "gelu", "elu", "trained_smooth_relu")
SOUND: dict[str, Any] = {"by_epsilon": (95, 80, 70, 40, 10, 0), "by_step": (70,) * 6}


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("smooth_robustness")


def known(experiment: ModuleType, clean: float, robust: float, **other: Any) -> Any:
    """A kind with these accuracies and a little scatter, of 17 seeds; the last diverged, and has nothing right."""
    alive = np.arange(SEEDS) < SEEDS - 1
    scatter = 0.01 * np.random.default_rng(int(robust)).normal(size=SEEDS)
    of = {"clean": clean, "robust": robust, "turned": 100 * (1 - robust / clean), "fgsm": 99, "noise": 99}
    found = {
        name: np.where(alive, np.asarray(value, float)[..., None] + scatter * (np.ndim(value) == 0), 0).T
        for name, value in (of | {"transfer": 99} | SOUND | other).items()
    }
    attacked = experiment.Attacked(**found)
    return experiment.Kind(0.01, np.zeros(1), attacked.clean, Variables({}), alive, attacked)


def every_kind(experiment: ModuleType, **changed: Any) -> dict[str, Any]:
    """What Xie et al. would have seen, but for what is changed."""
    kinds = {"relu": known(experiment, 94, 60), "leaky_relu": known(experiment, 94, 60)}
    kinds |= {name: known(experiment, 95, 70) for name in PAPER}
    kinds |= {f"{name}, plain": known(experiment, 97, 20) for name in ("relu", "swish")}
    return kinds | changed


def verdicts(claims: list[Any]) -> dict[str, str]:
    return {claim.settles: claim.verdict for claim in claims if claim.settles}


def test_digits_are_taken_at_equal_distances(experiment: ModuleType) -> None:
    few = experiment.every(Split(np.arange(10.0)[:, None], np.arange(10)), 3)
    np.testing.assert_array_equal(few.y, [0, 3, 6])


@pytest.mark.slow
def test_a_kind_is_trained_at_its_best_rate_and_attacked(
    experiment: ModuleType, coarse_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against networks trained alone; what is counted here is the closed form of a linear network's attack."""
    test = coarse_digits.test
    data = Dataset("few", coarse_digits.train, test, test, classes=10)
    size = experiment.Size((), 10, (1e-6, 0.1), 100, 50)
    monkeypatch.setattr(experiment, "HIDDEN", ())
    found = experiment.train("relu", data, size, 2, None)
    recipe = Recipe(learning_rate=0.1, schedule="one-cycle", epochs=10, eval_every=10)

    def task(*parts: Any) -> Any:
        return adversarial(make_task(*parts), pgd(0.1, 0.125, 1))

    alone = train_many(MLP((49, 10)), recipe, data, (2, 3), task=task)
    assert found.rate == 0.1
    assert found.tried[1] > found.tried[0] + 10
    np.testing.assert_allclose(found.clean, 100 - alone.error()[:, -1], atol=1e-3)
    np.testing.assert_allclose(found.attacked.clean, found.clean, atol=1e-3)
    x = test.x.reshape(100, 49).astype(float) / 255
    images, right, wrong = np.arange(100), [], []
    for layer in zip(*(alone.params["dense_0"][name].astype(float) for name in ("kernel", "bias")), strict=True):
        kernel, bias = layer
        differences = kernel.T[None] - kernel.T[test.y][:, None]  # [images, classes, pixels]
        worst = np.clip(x[:, None] + 0.1 * np.sign(differences), 0, 1)
        margins = np.einsum("icp,icp->ic", worst, differences) + bias[None] - bias[test.y][:, None]
        margins[images, test.y] = -np.inf
        right.append(100 * (margins.max(axis=1) < 0).mean())
        wrong.append(100 * (margins[::2].max(axis=1) < 0).mean())
    np.testing.assert_allclose(found.attacked.robust, right, atol=5.01)  # PGD goes for one wrong class
    assert (found.attacked.robust >= np.array(right) - 0.01).all()
    np.testing.assert_allclose(found.attacked.by_step[:, 0], wrong, atol=8.01)
    assert found.attacked.by_epsilon.shape == (2, 6)
    np.testing.assert_allclose(found.attacked.turned, 100 * (1 - found.attacked.robust / found.clean), atol=0.01)
    assert (found.attacked.transfer >= found.attacked.robust).all()
    assert (abs(found.attacked.noise - found.clean) < found.clean - found.attacked.robust).all()


def test_what_transfers_is_of_the_source(experiment: ModuleType) -> None:
    """On two linear networks of which one turns what the other says, what is bad for one is good for the other."""
    x, y = np.full((4, 2), 0.5, np.float32), np.array([0, 0, 1, 1])
    kernel = jnp.array([[0.3, 0.0], [0.0, 0.3]])

    def attacked(source: jax.Array) -> Any:
        own, other = (Variables({"dense_0": {"kernel": k, "bias": jnp.array([0.02, 0])}}) for k in (kernel, source))
        split = Split(x, y)
        attack = experiment.attack_one(MLP((2, 2)), MLP((2, 2)))
        return jax.jit(attack)({"variables": own, "source": other, "seed": 0}, split, split)

    assert attacked(kernel).clean == 50
    assert (attacked(kernel).robust, attacked(kernel).transfer) == (0, 0)
    assert attacked(-kernel).transfer == 100


def test_a_collapse_a_mend_and_its_price_are_seen(experiment: ModuleType) -> None:
    told = (experiment.FRAGILE, experiment.ROBUST, experiment.PRICE)
    kinds = every_kind(experiment)
    assert verdicts(experiment.claims_of_training(kinds)) == dict.fromkeys(told, "holds")
    assert all(claim.left_out == 1 for claim in experiment.claims_of_training(kinds))
    other = every_kind(experiment, **{"relu": known(experiment, 97, 40), "relu, plain": known(experiment, 96, 60)})
    assert verdicts(experiment.claims_of_training(other)) == dict.fromkeys(told, "fails")


def test_smooth_activations_are_compared_with_relu(experiment: ModuleType) -> None:
    told = (experiment.SWISH, experiment.FREE, experiment.KINK, experiment.EACH)
    claims = experiment.claims_of_smoothness(every_kind(experiment))
    assert verdicts(claims) == dict.fromkeys(told, "holds")
    saved, each = claims[-2:]
    assert (saved.published, saved.verdict) == (13.9, "holds")
    assert saved.measured == pytest.approx(25, abs=0.1)  # 10 of 40 points
    assert (each.seeds, each.left_out) == (8, 9)
    worse = every_kind(experiment, elu=known(experiment, 93, 55))
    assert verdicts(experiment.claims_of_smoothness(worse)) == dict.fromkeys(told[:3], "holds") | {told[3]: "fails"}
    sharp = every_kind(experiment, swish=known(experiment, 93, 62), trained_smooth_relu=known(experiment, 94, 59))
    claims = experiment.claims_of_smoothness(sharp)
    assert verdicts(claims) == dict(zip(told, ("holds", "fails", "fails", "fails"), strict=True))
    assert claims[-2].verdict == "fails"  # saves 5 %


@pytest.mark.parametrize(
    ("control", "changed"),
    [
        (0, {"by_epsilon": (95, 80, 70, 40, 10, 1)}),
        (0, {"by_epsilon": (95, 80, 81, 40, 10, 0)}),
        (1, {"fgsm": 65}),
        (2, {"noise": 65}),
        (3, {"transfer": 65}),
        (4, {"by_step": (70, 71, 70, 70, 70, 67)}),
    ],
)
def test_each_sign_of_masked_gradients_is_found(experiment: ModuleType, control: int, changed: dict[str, Any]) -> None:
    sound = experiment.claims_of_masking(every_kind(experiment))
    assert [claim.verdict for claim in sound] == ["holds"] * 6
    masked = known(experiment, 95, 70, **changed)
    found = [claim.verdict for claim in experiment.claims_of_masking(every_kind(experiment, gelu=masked))]
    assert found == ["fails" if place in (control, 5) else "holds" for place in range(6)]
    other = experiment.claims_of_masking(every_kind(experiment, tanh=masked))
    assert (other[control].verdict, other[5].verdict) == ("fails", "holds")


def test_experiment_keeps_the_contract(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On accuracies that are known."""
    kinds, asked, drawn = every_kind(experiment), [], []

    def train(name: str, *rest: Any) -> Any:
        asked.append((name, rest[-1]))
        return kinds[name]

    draw = experiment.draw
    monkeypatch.setattr(experiment, "train", train)
    monkeypatch.setattr(experiment, "float32_rate", lambda: 200.0)
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "draw", lambda kinds: drawn.append(draw(kinds)) or drawn[0])
    arguments = ["--quick", "--out", str(tmp_path)]
    run_experiment("smooth_robustness", "", experiment.body, 17, 17, arguments, needs=experiment.MNIST)
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims["accuracy under attack, swish above relu"]["measured"] == pytest.approx(10, abs=0.02)
    assert (tmp_path / "smooth_robustness.png").exists()
    assert asked == [
        ("relu", None),
        ("swish", kinds["relu"]),
        ("relu, plain", None),
        ("swish, plain", kinds["relu, plain"]),
    ]
    labelled(drawn[0])
    assert {"swish  (0.01)", "relu, plain"} <= set(texts(drawn[0]).splitlines())
    with pytest.raises(SystemExit):
        run_experiment("smooth_robustness", "", experiment.body, 16, 3, arguments, needs=experiment.MNIST)
