"""The experiment on deformed digits, on few coarse ones: what it trains, how committees err, what it states."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import labelled, labels, load_experiment, texts

from mlpjax import MLP, Dataset, Deformation, Split, augmented, make_task, train_many
from mlpjax.claims import MNIST, Claim, run_experiment

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("augmentation")


def draw_wide(experiment: ModuleType, networks: int = 4, lengths: tuple[int, ...] = (2, 4, 8)) -> Any:
    """Networks that are right about 50 digits the more often the longer they were trained, each in its own way."""
    labels = RNG.integers(0, 3, 50)
    right = np.eye(3)[labels] * np.array(lengths).reshape(-1, 1, 1, 1) / 8
    scores = right + RNG.normal(size=(len(lengths), networks, 50, 3))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    finals = 100 * np.mean(probabilities.argmax(axis=-1) != labels, axis=-1).T
    curves = np.linspace(90, finals[:, -1], 3).T
    return experiment.Wide(1000, np.array([0, 4, 8]), curves, lengths, finals, probabilities, labels, 0.5, 6e9)


def test_every_kind_is_trained_alike(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its error is the one after the last epoch."""
    seen = {}

    def train(what: str, *args: Any) -> Any:
        seen[what] = args
        error = np.array([[50.0, 10], [50, 20]]) + len(seen)
        return SimpleNamespace(error=lambda: error)

    monkeypatch.setattr(experiment, "train", train)
    found = experiment.train_small(coarse_digits, [*experiment.KINDS], (8, 6), 3, 2, tmp_path)
    assert [*found] == ["none", "shift", "rotation", "stretch", "elastic", "all"]
    np.testing.assert_allclose(found["rotation"], [13, 23])
    models, recipes, _, deformations, seeds, _ = zip(*seen.values(), strict=True)
    assert {model.widths for model in models} == {(49, 8, 6, 10)}
    assert [*deformations] == [*experiment.KINDS.values()]
    assert set(recipes) == {experiment.make_recipe(3, 3, 128)}
    assert set(seeds) == {2}
    for kind in ("shift", "rotation", "stretch", "elastic"):
        deformation = experiment.KINDS[kind]
        assert getattr(deformation, kind) > 0
        assert replace(deformation, **{kind: 0}) == Deformation(smoothness=deformation.smoothness)
    assert all(getattr(experiment.KINDS["all"], kind) > 0 for kind in ("shift", "rotation", "stretch", "elastic"))


def test_the_wide_networks_train_on_deformed_digits(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path
) -> None:
    """All lengths from the same seeds, the shortest as the library trains it; asked are the digits as they are."""
    digits = replace(coarse_digits, train=Split(*(np.tile(leaf.T, 2).T for leaf in coarse_digits.train)))
    wide = experiment.train_wide(digits, (6,), (1, 2), 2, tmp_path)
    model, recipe = MLP((49, 6, 10), precision="mixed"), experiment.make_recipe(1, 1, 256)

    def task(*parts: Any) -> Any:
        return augmented(make_task(*parts), experiment.KINDS["all"])

    alone = train_many(model, recipe, digits, range(2), task=task)
    np.testing.assert_array_equal(wide.finals[:, 0], alone.error()[:, -1])
    first = alone.params["dense_0"]
    hidden = np.maximum(coarse_digits.test.x.reshape(-1, 49) / 255 @ first["kernel"] + first["bias"][:, None], 0)
    last = alone.params["dense_1"]
    logits = hidden @ last["kernel"] + last["bias"][:, None]
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(wide.probabilities[0], expected, atol=1e-5)
    np.testing.assert_array_equal(wide.curves[:, -1], wide.finals[:, -1])
    assert wide.epochs.tolist() == [0, 1, 2]
    assert (wide.curves.shape, wide.finals.shape) == ((2, 3), (2, 2))
    assert wide.parameters == 49 * 6 + 6 + 60 + 10
    assert wide.flops == 6 * 400 * (49 * 6 + 60)
    assert 0 < wide.hours < 1


def test_a_committee_chooses_by_the_mean_probability(experiment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the votes: two who waver are outvoted by one who is sure."""
    waver, sure = [0.45, 0.55], [0.9, 0.1]
    probabilities = np.array([waver, waver, sure])[:, None]
    np.testing.assert_allclose(experiment.committee_errors(probabilities, np.array([0]), 3), [0])
    np.testing.assert_allclose(experiment.committee_errors(probabilities, np.array([0]), 1), [100, 100, 0])
    many = RNG.dirichlet(np.ones(4), (9, 300))
    labels = RNG.integers(0, 4, 300)
    expected = []
    for a, b, c, d in itertools.combinations(range(9), 4):
        choice = (many[a] + many[b] + many[c] + many[d]).argmax(axis=1)
        expected.append(100 * (choice != labels).mean())
    found = experiment.committee_errors(many, labels, 4)
    np.testing.assert_allclose(found, expected)
    monkeypatch.setattr(experiment, "MANY", 60)
    some = experiment.committee_errors(many, labels, 4)
    assert len(some) == 60
    assert set(some.round(6)) <= set(np.round(expected, 6))
    assert abs(some.mean() - np.mean(expected)) < 5 * np.std(expected) / math.sqrt(60)


def test_the_power_law_is_found_and_followed(experiment: ModuleType) -> None:
    epochs = (2, 6, 18)
    errors = np.array(
        [[3.0 * t**-0.5 for t in epochs], [0.8 * t**-0.1 for t in epochs], [0.4 * t**0.2 for t in epochs]]
    )
    a, b = experiment.power_law(epochs, errors)
    np.testing.assert_allclose(a, [3, 0.8, 0.4])
    np.testing.assert_allclose(b, [0.5, 0.1, -0.2])
    needed = experiment.epochs_until(0.3, epochs, errors)
    np.testing.assert_allclose(needed, [100, (0.8 / 0.3) ** 10, np.nan])
    flat = 5 * np.array([[t**-1e-4 for t in epochs]])
    assert np.isnan(experiment.epochs_until(0.3, epochs, flat)).all()


def test_experiment_keeps_the_contract(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = draw_wide(experiment)
    errors = {kind: 2 - place / 10 + np.array([0, 0.01, -0.01]) for place, kind in enumerate(experiment.KINDS)}
    monkeypatch.setattr(experiment, "load", lambda _: coarse_digits)
    monkeypatch.setattr(experiment, "train_small", lambda *_: errors)
    monkeypatch.setattr(experiment, "train_wide", lambda *_: wide)
    (tmp_path / "checkpoints").mkdir()
    run_experiment("augmentation", "", experiment.body, 3, 3, ["--quick", "--out", str(tmp_path)], needs=MNIST)
    assert not (tmp_path / "checkpoints").exists()
    claims = {claim["name"]: claim for claim in json.loads((tmp_path / "results.json").read_text())["claims"]}
    for place, kind in enumerate(experiment.KINDS):
        assert claims[f"small network, {kind}: test error"]["measured"] == pytest.approx(2 - place / 10)
    gain = claims["small network: test error, without above with elastic"]
    assert (gain["measured"], gain["relation"], gain["statistic"]) == (pytest.approx(0.4), "above", "paired difference")
    assert claims["small network: test error, with shift above with elastic"]["measured"] == pytest.approx(0.3)
    single, committee = claims["wide network: test error"], claims["committee of 4: test error"]
    assert single["measured"] == pytest.approx(wide.finals[:, -1].mean())
    choice = wide.probabilities[-1].sum(axis=0).argmax(axis=1)
    assert committee["measured"] == pytest.approx(100 * np.mean(choice != wide.labels))
    gap = claims["wide network above the committee: test error"]
    assert gap["measured"] == pytest.approx(single["measured"] - committee["measured"])
    as_is = claims["wide network: reported is the error on the digits as they are"]
    assert (as_is["measured"], as_is["theorem"]) == (100, True)
    assert {claim["relation"] for name, claim in claims.items() if name.startswith(("wide network:", "committee"))} == {
        None,
        "every",
    }
    with pytest.raises(SystemExit, match="2"):
        options = ["--quick", "--seeds", "1", "--out", str(tmp_path)]
        run_experiment("augmentation", "", experiment.body, 3, 3, options, needs=MNIST)


def test_what_is_published_stands_beside(experiment: ModuleType) -> None:
    wide = draw_wide(experiment)
    finals = np.array([[2.0, 1.0, 0.5], [2.2, 1.1, 0.55], [1.8, 0.9, 0.45], [2.0, 1.0, 0.5]])
    found: list[Claim] = experiment.claims_of_wide(wide._replace(finals=finals), published=True)
    claims = {claim.name: claim for claim in found}
    name = "wide network: test error"
    assert (claims[name].published, claims[name].verdict) == (0.70, "holds")
    assert claims[f"{name}, beside the project's aim"].published == 0.6
    assert claims[f"{name}, beside a network ten times as large"].verdict == "fails"
    assert claims["wide network: errs on at most 0.6 %"].measured == 100
    together = [claim.published for claim in found if claim.name.startswith("committee of 4")]
    assert together == [0.31, 0.45]
    assert claims["wide network: reported is the error on the digits as they are"].measured == 0
    costs: dict[str, Claim] = {
        claim.name: claim for claim in experiment.claims_of_cost(wide._replace(finals=finals), published=True)
    }
    assert costs["wide networks: training of all 4"].verdict == "holds"  # half an hour
    assert costs["wide network: exponent of the power law of error and epochs"].measured == pytest.approx(1)
    until = "until 0.35 %, if the power law goes on"
    needed = costs[f"wide network: epochs {until}"]
    assert needed.measured == pytest.approx(4 / 0.35)
    an_epoch = 0.5 / (4 * 8)
    assert costs[f"wide network: hours {until}"].measured == pytest.approx(an_epoch * 4 / 0.35)
    weights = 784 * 2500 + 2500 * 2000 + 2000 * 1500 + 1500 * 1000 + 1000 * 500 + 500 * 10
    theirs = costs["Ciresan's network: hours for 800 epochs at the rate of this run"]
    assert theirs.measured == pytest.approx(800 * 6 * 60_000 * weights / 6e9 * an_epoch)


def test_figures_say_what_they_show(experiment: ModuleType, coarse_digits: Dataset) -> None:
    wide = draw_wide(experiment)
    errors = {kind: RNG.uniform(1, 2, 3) for kind in experiment.KINDS}
    figure = experiment.draw(errors, wide, published=True)
    labelled(figure)
    assert {"one committee", "mean over committees", "at the end of training"} <= labels(figure)
    assert "Ciresan: 0.35 %" in texts(figure)
    sheet = experiment.draw_digits(coarse_digits)
    assert [kind for kind in texts(sheet).splitlines() if kind] == [*experiment.KINDS]
    plain, deformed = (sheet.axes[place].images[0].get_array() for place in (0, 50))
    assert (plain != deformed).any()
