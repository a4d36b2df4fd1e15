"""The diagnosis experiment, on few networks: what it puts in is there, and its claims are of what was named."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import labelled, load_experiment, texts

from mlpjax.diagnosis import Fault


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("diagnosis")


def test_what_is_put_in_is_there(experiment: ModuleType, coarse_digits: Any) -> None:
    train, test = coarse_digits.train, coarse_digits.test
    mixed = experiment.shuffled(train)
    assert (mixed.y != train.y).mean() > 0.7
    np.testing.assert_array_equal(np.sort(mixed.y), np.sort(train.y))
    raw = experiment.scaled(1.0, coarse_digits)
    assert raw.train.x.dtype == np.float32
    assert raw.test.x.max() == test.x.max() > 100
    assert set(experiment.without((0, 9), train).y) == set(range(1, 9))
    leak = experiment.leaking(0.2, coarse_digits).train
    np.testing.assert_array_equal(leak.x[:20], test.x[:20])
    np.testing.assert_array_equal(leak.y[20:], train.y[20:])
    params = {
        name: {"kernel": np.ones((2, 2)), "bias": np.zeros((2, 2), np.float32)} for name in ("dense_0", "dense_1")
    }
    low = experiment.silenced((1,), 3.0, params)
    assert [low[name]["bias"].max() for name in params] == [0, -3]


def test_networks_are_diagnosed(experiment: ModuleType, coarse_digits: Any, tmp_path: Path) -> None:
    """Three faults in small networks, and a healthy one that is left in peace."""

    def of(name: str, model: Any = None, **more: Any) -> Any:
        recipe = {"epochs": 20, "batch_size": 20}
        return experiment.Setting(name, (16,), model or {}, recipe, (3e-3, 1e-2), **more)

    settings = {
        Fault.DEAD: [of("dead", start=lambda params: experiment.silenced((0,), 6.0, params))],
        Fault.PROBABILITIES: [of("softmax", model=experiment.SOFTMAX)],
        None: [of("healthy")],
    }
    claims, config = experiment.settle(coarse_digits, settings, 3, tmp_path)
    found = {claim.name: claim.measured for claim in claims}
    assert found["sick networks whose fault is named first"] == 100
    assert found["healthy networks without an alarm"] == 100
    assert found["dead hidden units: named first"] == 100
    assert found["healthy networks: highest test error"] < 40
    assert config["named first"]["healthy, healthy"] == {"nothing": 3}
    assert (tmp_path / "diagnosis.png").stat().st_size > 10_000


def test_an_alarm_and_a_wrong_name_count_against(experiment: ModuleType) -> None:
    error = np.array([3.0, 4.0])
    found = {
        Fault.RATE: [experiment.Outcome([Fault.RATE, Fault.SPIKE], error)],
        None: [experiment.Outcome([None, Fault.OVERFIT], error)],
    }
    claims = {claim.name: claim for claim in experiment.claims_of(found)}
    assert claims["learning rate too high: named first"].measured == 50
    assert claims["healthy networks without an alarm"].verdict == "fails"
    figure = experiment.draw(found)
    labelled(figure)
    assert "learning rate too high (n = 2)" in texts(figure)


def test_settings_are_many_and_their_seeds_apart(experiment: ModuleType) -> None:
    names = {setting.name + fault.name for fault, kinds in experiment.SICK.items() for setting in kinds}
    assert len(experiment.HEALTHY) == 10
    assert {len(kinds) for kinds in experiment.SICK.values()} == {3}
    assert len(experiment.SICK) == 8
    assert len(names) == 24
