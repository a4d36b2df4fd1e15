"""Every fault is named where it is, with its numbers, and nothing where all is well."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

from mlpjax import MLP, Dataset, Recipe, Split, Variables, make_task, train_many
from mlpjax.data import check
from mlpjax.diagnosis import (
    Course,
    Diagnosis,
    Fault,
    Signs,
    chance_of,
    check_before,
    diagnose,
    exploded,
    lose_exploded,
    make_signs,
    read,
)
from mlpjax.seeds import Trained

RNG = np.random.default_rng(0)
HEALTHY = Signs(still=np.array([0.1, 0.0]), gain=0.6, lowest=-9.0, highest=9.0, probabilities=np.array(False))
CHANCE = {"train": 0.1, "test": 0.1}
LEARNT = {"train_loss": [2.3, 0.5, 0.1], "test_loss": [2.3, 0.6, 0.4], "train_accuracy": 0.98, "test_accuracy": 0.9}


def course(start: Signs = HEALTHY, end: Signs = HEALTHY, **history: list[float] | float) -> Course:
    curves = {name: np.broadcast_to(np.array(values), 3) for name, values in (LEARNT | history).items()}
    return Course(curves, start, end, CHANCE)


def names(found: list[Diagnosis]) -> list[str]:
    return [diagnosis.fault.name for diagnosis in found]


DEAD = HEALTHY._replace(still=np.array([0.2, 0.95]))
SLOW = HEALTHY._replace(gain=2e-5)
SQUASHED = HEALTHY._replace(probabilities=np.array(True), lowest=0.0, highest=1.0)
CASES = [
    ("", {"end": SQUASHED}, ""),
    ("", {}, ""),
    ("RATE", {"train_loss": [2.3, np.nan, np.nan]}, "2.3 at the start, exploded before evaluation 1"),
    ("RATE", {"train_loss": [2.3, 900.0, 2.2]}, "rose from 2.3 to 900"),
    ("RATE", {"end": DEAD}, "95 % of the units of hidden layer 2 died: 0 % at the start"),
    ("DEAD", {"start": DEAD, "end": DEAD}, "95 % of the units of hidden layer 2 give the same for all examples"),
    (
        "VANISHING",
        {"start": SLOW, "end": SLOW},
        "a share of 2e-05 comes to the inputs at the start, and 2e-05 at the end",
    ),
    ("", {"start": SLOW}, ""),
    ("", {"end": SLOW}, ""),
    ("VANISHING", {"start": SLOW, "train_accuracy": 0.3}, "and 0.6 at the end"),
    ("PROBABILITIES", {"start": SQUASHED, "end": SQUASHED}, "0 and 1"),
    ("SHUFFLED", {"train_accuracy": 0.55, "test_accuracy": 0.1}, "50 % of the way from chance to perfect in training"),
    ("SPIKE", {"train_loss": [2.3, 0.4, 1.4]}, "rose from 0.4 to 1.4 at once"),
    (
        "PLATEAU",
        {"train_accuracy": 0.1, "test_accuracy": 0.1, "train_loss": [2.4, 2.3, 2.3]},
        "moved by 0 % in the second half",
    ),
    (
        "UNDERFIT",
        {"train_accuracy": 0.4, "test_accuracy": 0.4, "train_loss": [2.4, 2.0, 1.7]},
        "the loss is 1.7, from 2.4",
    ),
    ("OVERFIT", {"test_loss": [2.3, 0.4, 0.9]}, "the test loss rose from 0.4 to 0.9"),
    ("", {"valid_loss": [2.3, 0.4, 0.5], "test_loss": [2.3, 0.4, 0.9]}, ""),
]


@pytest.mark.parametrize(("fault", "changes", "seen"), CASES)
def test_a_course_is_read(fault, changes, seen):
    found = read(course(**changes))
    assert names(found) == [fault] * bool(fault)
    if fault:
        assert seen in found[0].seen


def test_causes_stand_before_symptoms_and_explain_them():
    """Probabilities that keep a network from learning: named first, and no plateau beside them."""
    stuck = {"train_accuracy": 0.1, "test_accuracy": 0.1, "train_loss": [2.3, 2.3, 2.3]}
    assert names(read(course(start=SQUASHED, end=SQUASHED, **stuck))) == ["PROBABILITIES"]
    assert names(read(course(start=SQUASHED, end=SQUASHED, train_loss=[2.3, 9.0, 2.3]))) == ["PROBABILITIES", "RATE"]


def test_a_network_without_a_hidden_layer_and_a_regression():
    none = HEALTHY._replace(still=np.zeros(0), gain=np.nan)
    assert read(course(start=none, end=none)) == []
    history = {"train_loss": [2.0, 1.9, 1.8], "test_loss": [2.0, 1.9, 1.8], "train_r2": [0.0, 0.1, 0.2]}
    history["test_r2"] = history["train_r2"]
    curves = {name: np.array(values) for name, values in history.items()}
    assert names(read(Course(curves, HEALTHY, HEALTHY, None))) == ["UNDERFIT"]


def test_every_fault_has_a_name_and_a_mend_of_its_own():
    assert len({fault.title for fault in Fault}) == len({fault.mend for fault in Fault}) == len(Fault)
    assert all(fault.mend.endswith(".") for fault in Fault)


def blobs(n: int, classes: int = 3) -> Split:
    y = (np.arange(n) % classes).astype(np.int32)
    x = np.eye(classes)[y] + 0.1 * RNG.standard_normal((n, classes))
    return Split(x.astype(np.float32), y)


def dataset(**changes: Split) -> Dataset:
    parts = {"train": blobs(60), "valid": blobs(6), "test": blobs(30)}
    return Dataset("blobs", **parts | changes, classes=3)


def before(data: Dataset) -> list[Diagnosis]:
    task = make_task(MLP((3, 4, 3)), Recipe(), data.train)
    return check_before(data, check(data), task)


def test_data_are_judged_before_training():
    good = dataset()
    assert before(good) == []
    some = Split(np.concatenate([good.train.x[:3], good.test.x[3:]]), good.test.y)
    (leak,) = before(dataset(train=good.train, test=some))
    assert leak == (Fault.LEAK, "3 of 30 test examples stand in training as well")
    (missing,) = before(dataset(train=Split(good.train.x, np.minimum(good.train.y, 1))))
    assert missing == (Fault.MISSING, "no training example of class 2, which is in the test")
    for factor in (100, 1e-3):
        (scale,) = before(dataset(train=good.train._replace(x=np.float32(factor) * good.train.x)))
        assert scale.fault is Fault.SCALE
        assert f"{factor * np.sqrt(np.mean(good.train.x**2)):.3g}" in scale.seen


def test_signs_are_those_of_the_network():
    """By hand: dead by a bias, gradients by finite differences, and a softmax after the last layer."""
    model, recipe, split = MLP((3, 4, 3)), Recipe(), blobs(30)
    task = make_task(model, recipe, split)
    params = jax.tree.map(np.array, model.init(jax.random.key(1)).params)
    params["dense_0"]["bias"][:3] = -50
    signs = make_signs(model, recipe, task)(Variables(params), split)
    assert signs.still.tolist() == [0.75]
    assert not signs.probabilities

    def outputs_of(x: np.ndarray) -> np.ndarray:
        return np.maximum(x @ params["dense_0"]["kernel"] + params["dense_0"]["bias"], 0) @ params["dense_1"]["kernel"]

    def losses(outputs: np.ndarray) -> np.ndarray:
        return np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(30), split.y]

    def slopes(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
        steps = 1e-6 * np.eye(3)
        return np.stack([(function(at + step) - function(at - step)) / 2e-6 for step in steps], axis=1)

    x = split.x.astype(float)
    at_inputs, at_outputs = slopes(lambda x: losses(outputs_of(x)), x), slopes(losses, outputs_of(x))
    assert signs.gain == pytest.approx(np.linalg.norm(at_inputs) / np.linalg.norm(at_outputs), rel=1e-3)

    squashed = MLP((3, 4, 3), output_activation=jax.nn.softmax)
    assert make_signs(squashed, recipe, task)(Variables(params), split).probabilities
    squared = Recipe(loss="squared_error")
    assert not make_signs(squashed, squared, task)(Variables(params), split).probabilities
    silent = jax.tree.map(np.zeros_like, params)
    assert not make_signs(model, recipe, task)(Variables(silent), split).probabilities


def test_what_explodes_is_stopped_and_counts_as_diverged():
    """Twins at two rates: one is lost after an epoch, the other learns as it would alone."""
    recipe = Recipe(optimizer="sgd", loss="squared_error", batch_size=None, epochs=6, eval_every=2)
    rates = {"learning_rate": np.array([0.1, 100.0])}
    model, data = MLP((3, 4, 3)), dataset()
    trained = train_many(model, recipe, data, [0, 0], sweep=rates, stop=exploded)
    assert trained.stopped_at[0] == -1
    assert 0 < trained.stopped_at[1] < 6
    lost = lose_exploded(trained, recipe.eval_every)
    assert lost.diverged.tolist() == [False, True]
    first = -(-trained.stopped_at[1] // 2)
    np.testing.assert_array_equal(np.isinf(lost.history["train_loss"][1]), np.arange(4) >= first)
    alone = train_many(model, recipe, data, [0], sweep={"learning_rate": rates["learning_rate"][:1]})
    np.testing.assert_allclose(lost.history["train_loss"][0], alone.history["train_loss"][0], rtol=1e-5)
    assert lose_exploded(alone, 2) is alone


def test_every_network_has_diagnoses_of_its_own():
    history = {name: np.array([np.broadcast_to(np.array(v), 3)] * 2) for name, v in LEARNT.items()}
    history["train_loss"][1] = [2.3, 900, np.inf]
    signs = Signs(*(np.stack([field] * 2) for field in HEALTHY))
    trained = Trained(np.array([3, 4]), {}, history)
    leak = Diagnosis(Fault.LEAK, "all")
    assert [*map(names, diagnose([leak], trained, signs, signs, CHANCE))] == [["LEAK"], ["LEAK", "RATE"]]


def test_chance_is_the_share_of_the_commonest_class():
    data = dataset(train=Split(blobs(4).x, np.array([0, 1, 1, 2], np.int32)))
    assert chance_of(data) == {"train": 0.5, "test": pytest.approx(1 / 3)}
