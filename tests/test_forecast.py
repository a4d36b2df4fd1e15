"""A forecast has the true time at one end, where time goes by arithmetic or by steps; nothing but training counts."""

import numpy as np
import pytest

from mlpjax import MLP, Recipe, forecast, load, make_task
from mlpjax.forecast import Forecast, Load, duration, load_of

LOADS = [Load(40, 8e9, 10), Load(40, 1e9, 10), Load(20, 4e9, 20)]


def by_arithmetic(one):
    return one.flops / 1e10


def by_steps(one):
    return one.steps / 20


def follow(seconds_of, monkeypatch, kept=0, block=1):
    """What is said, and after how many periods; networks are trained one by one, and the first are kept already."""
    clock, said, done = [0.0], [], [0]
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: clock[0])
    listener = Forecast(LOADS, lambda text: said.append((done[0], text)))
    for one in LOADS:
        for place in range(one.periods // 10):
            if done[0] < 10 * kept:
                done[0] += 10
                listener.on_progress(done[0], 100)
                continue
            clock[0] += 500.0 * (place < kept + 2)  # to compile the training, and what comes after it
            for period in range(block, 11, block):
                clock[0] += block * seconds_of(one)
                done[0] += block
                listener.on_progress(done[0], 100)
                listener.on_history(np.array([place]), {"train_loss": np.zeros((1, period + 1))})
    return said


@pytest.mark.parametrize(
    ("seconds_of", "kept", "block", "periods", "said"),
    [
        # 0.8 s a period of the first program: 37 periods of it are left, 40 of an eighth, 20 of half the arithmetic.
        (by_arithmetic, 0, 1, 3, "About 42 s to 1.6 min of training to go, judged by the first 1.6 s"),
        (by_arithmetic, 1, 1, 13, "About 34 s to 86 s of training to go, judged by the first 1.6 s"),
        # Ten periods at once: the third network is the first that nothing is compiled for.
        (by_arithmetic, 0, 10, 30, "About 20 s to 72 s of training to go, judged by the first 8.0 s"),
        # 0.5 s a period, of as many or of twice the steps.
        (by_steps, 0, 1, 3, "About 26 s to 58 s of training to go, judged by the first 1.0 s"),
    ],
)
def test_the_rest_is_foretold_once_by_arithmetic_and_by_steps(seconds_of, kept, block, periods, said, monkeypatch):
    ((when, told),) = follow(seconds_of, monkeypatch, kept, block)
    assert when == periods
    assert told.startswith(said)


def test_a_sweep_that_is_soon_over_is_not_foretold(monkeypatch):
    assert follow(lambda one: 1e-3, monkeypatch) == []


def test_the_load_by_hand():
    """Two layers of products; 750 examples to train, to validate and to test on, in batches of 50."""
    recipe, dataset = Recipe(batch_size=50, epochs=8, eval_every=2), load("xor")
    task = make_task(MLP((2, 9, 2)), recipe)
    forward = 2 * (2 * 9 + 9 * 2)
    assert load_of(task, recipe, dataset, networks=3) == Load(3 * 4, forward * (2 * 3 * 750 + 3 * 750), 2 * 15)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.123, "0.12 s"), (59.6, "60 s"), (89.4, "89 s"), (600.0, "10 min"), (5400.0, "1.5 h"), (1e6, "12 days")],
)
def test_a_time_is_told_in_its_unit(seconds, said):
    assert duration(seconds) == said
