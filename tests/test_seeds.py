import contextlib
import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax.data import load
from mlpjax.errors import UserError
from mlpjax.keys import Keys, make_keys
from mlpjax.lift import Work, default_chunk, map_seeds, run
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.seeds import apply_sweep, make_members, train_many
from mlpjax.task import classification
from mlpjax.train import Splits, make_train

DATA = load("xor", n=60)
MODEL = MLP((2, 6, 2), dropout=(0.2,))
RECIPE = Recipe(batch_size=16, epochs=4, learning_rate=0.02)


class Memory:
    """A store that keeps everything in memory, and can be interrupted while it saves."""

    def __init__(self):
        self.kept = {}
        self.joined = None
        self.identity = None

    def __contains__(self, name):
        return name in self.kept

    def load(self, name):
        return self.kept.get(name)

    def save(self, name, arrays):
        self.kept[name] = dict(arrays)

    def remove(self, name):
        self.kept.pop(name, None)

    def claim(self, identity):
        if self.identity not in (None, identity):
            other = [name for name in identity if identity[name] != self.identity.get(name)]
            raise UserError(f"results for other {other}")
        self.identity = identity

    def names(self):
        return sorted(self.kept)

    def stack(self, names):
        parts = [*([self.joined] if self.joined else []), *(self.kept.pop(name) for name in names)]
        if parts:
            self.joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def stacked(self):
        return self.joined


def figures(trained):
    """All but the time that it took."""
    return trained.params, {name: values for name, values in trained.history.items() if name != "seconds"}


@pytest.fixture(scope="module")
def sixty_four():
    return train_many(MODEL, RECIPE, DATA, range(64), chunk=5)


@pytest.mark.parametrize("chunk", [1, 3])
def test_seed_17_alone_is_seed_17_among_64_in_any_chunk(sixty_four, chunk):
    alone = train_many(MODEL, RECIPE, DATA, [17], chunk=chunk)
    chex.assert_trees_all_close(
        figures(alone), figures(sixty_four.select([17])), rtol=1e-4, atol=1e-6, custom_message="float32 rounding"
    )
    some = train_many(MODEL, RECIPE, DATA, [40, 17, 3], chunk=chunk)
    chex.assert_trees_all_close(figures(some), figures(sixty_four.select([40, 17, 3])), rtol=1e-4, atol=1e-6)


def test_many_are_the_one_network_function_of_each(sixty_four):
    one = make_train(classification(MODEL, RECIPE), RECIPE)(make_keys(9), Splits(DATA.train, DATA.valid, DATA.test))
    ninth = jax.tree.map(lambda leaf: leaf[9], figures(sixty_four))
    chex.assert_trees_all_close((one.state.params, one.history), ninth, rtol=1e-4, atol=1e-6)
    assert (sixty_four.seeds == np.arange(64)).all()
    assert (sixty_four.history["seconds"] > 0).all()


def test_other_seeds_give_other_networks(sixty_four):
    kernels = sixty_four.params["dense_0"]["kernel"].reshape(64, -1)
    assert len(np.unique(kernels, axis=0)) == 64


@pytest.mark.parametrize("name", Keys._fields)
def test_a_frozen_key_is_shared_and_the_others_are_not(name):
    members = make_members([3, 4], freeze=[name])
    for field, key in members.keys._asdict().items():
        first, second = jax.random.key_data(key)
        assert (first == second).all() == (field == name)
    unfrozen = make_members([3, 4])
    for field in set(Keys._fields) - {name}:
        same = jax.random.key_data(getattr(members.keys, field)) == jax.random.key_data(getattr(unfrozen.keys, field))
        assert same.all()


def test_freezing_the_start_and_the_order_leaves_nothing_to_chance():
    plain = MLP((2, 6, 2))
    frozen = train_many(plain, RECIPE, DATA, [1, 2], freeze=["init", "order"])
    chex.assert_trees_all_equal(*(figures(frozen.select([i])) for i in (0, 1)))
    order_varies = train_many(plain, RECIPE, DATA, [1, 2], freeze=["init"])
    assert order_varies.history["train_loss"][0, 0] == order_varies.history["train_loss"][1, 0]
    assert order_varies.history["train_loss"][0, -1] != order_varies.history["train_loss"][1, -1]


@pytest.mark.parametrize(
    ("optimizer", "sweep"),
    [
        (
            "sgd",
            {
                "learning_rate": [0.1, 0.2],
                "ridge": [0.02, 0.1],
                "lasso": [0.0, 0.01],
                "label_smoothing": [0.0, 0.3],
                "clip": [0.05, 1.0],
                "scale": [0.5, 2.0],
                "dropout": [0.0, 0.5],
            },
        ),
        ("momentum", {"momentum": [0.2, 0.9]}),
        ("adamw", {"weight_decay": [0.0, 1.0]}),
    ],
)
def test_a_sweep_is_each_value_trained_for_itself(optimizer, sweep):
    recipe = Recipe(batch_size=16, epochs=2, optimizer=optimizer, learning_rate=0.1)
    swept = train_many(MODEL, recipe, DATA, [5, 5], sweep={name: np.array(values) for name, values in sweep.items()})
    for index in (0, 1):
        numbers = {name: (values[index],) if name == "dropout" else values[index] for name, values in sweep.items()}
        alone = train_many(*apply_sweep(MODEL, recipe, numbers), DATA, [5])
        chex.assert_trees_all_close(figures(alone), figures(swept.select([index])), rtol=1e-4, atol=1e-5)
    assert swept.history["train_loss"][0, -1] != swept.history["train_loss"][1, -1]


def test_a_sweep_of_dropout_can_have_a_rate_for_each_layer():
    model = MLP((2, 6, 6, 2), dropout=(0.0, 0.5))
    alone = train_many(model, RECIPE, DATA, [5])
    swept = train_many(model, RECIPE, DATA, [5, 5], sweep={"dropout": np.array([[0.0, 0.5], [0.5, 0.0]])})
    chex.assert_trees_all_close(figures(alone), figures(swept.select([0])), rtol=1e-4, atol=1e-5)


def test_a_seed_that_diverges_is_named_and_harms_no_other():
    recipe = Recipe(optimizer="sgd", loss="squared_error", batch_size=16, epochs=4)
    rates = np.array([0.1, 1e6, 0.1])
    with_it = train_many(MODEL, recipe, DATA, [1, 2, 3], sweep={"learning_rate": rates})
    without = train_many(MODEL, recipe, DATA, [1, 1, 3], sweep={"learning_rate": rates[[0, 0, 2]]})
    assert with_it.diverged.tolist() == [False, True, False]
    for split in ("train", "valid", "test"):
        history = with_it.history | {
            f"{split}_loss": np.where(np.arange(3)[:, None] == 2, np.inf, 0.0).repeat(5, axis=1)
        }
        assert with_it._replace(history=history).diverged[2]
    chex.assert_trees_all_equal(figures(with_it.select([0, 2])), figures(without.select([0, 2])))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sweep": {"epochs": np.ones(2)}}, "unknown sweep 'epochs'"),
        ({"sweep": {"learning_rate": np.ones(1)}}, "has 1 values for 2 networks"),
        ({"sweep": {"learning_rate": np.array([1.0, -1.0])}}, "learning_rate -1.0: must be above 0"),
        ({"sweep": {"dropout": np.array([0.5, 1.5])}}, "dropout 1.5: a rate must lie"),
        ({"freeze": ["weights"]}, "unknown freeze 'weights'"),
        ({"chunk": 0}, "chunk 0: must be at least 1"),
        ({"seeds": []}, "seeds: give at least one"),
        ({"seeds": [-1, 2]}, "seeds: give at least one, each between 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        train_many(MODEL, RECIPE, DATA, **{"seeds": [1, 2]} | arguments)


def test_an_interrupted_training_goes_on_to_the_same_figures(monkeypatch):
    """Interrupted in every chunk and between two of them, with a checkpoint in passing and without."""
    monkeypatch.setattr("mlpjax.lift.BLOCK_SECONDS", 0.0)
    undisturbed = train_many(MODEL, RECIPE, DATA, range(7), chunk=2)
    store, interruptions = Memory(), [4, 12, 16, 22, 25]  # of 28 periods, in parts of 4 and 3 networks

    def on_progress(done, _):
        if interruptions and done == interruptions[0]:
            interruptions.pop(0)
            raise KeyboardInterrupt

    resumed = None
    while resumed is None:
        monkeypatch.setattr("mlpjax.lift.CHECKPOINT_SECONDS", 0.0 if len(interruptions) % 2 else 1e9)
        with contextlib.suppress(KeyboardInterrupt):
            resumed = train_many(MODEL, RECIPE, DATA, range(7), chunk=2, store=store, on_progress=on_progress)
    assert not interruptions
    chex.assert_trees_all_equal(figures(resumed), figures(undisturbed))
    assert not store.kept


def test_what_is_kept_is_not_trained_again():
    store = Memory()
    first = train_many(MODEL, RECIPE, DATA, range(4), chunk=2, store=store)
    store.joined["seconds"] = store.joined["seconds"] + 5.0  # the seconds: a mark that only the store can have left
    again = train_many(MODEL, RECIPE, DATA, range(4), chunk=2, store=store)
    assert (again.history["seconds"] == first.history["seconds"] + 5.0).all()
    chex.assert_trees_all_equal(figures(first), figures(again))


def test_checkpoints_of_another_form_are_refused():
    store = Memory()
    store.joined = {"something": np.zeros(3), "row": np.zeros((3, 16), np.uint8)}
    with pytest.raises(UserError, match="another version of mlpjax"):
        train_many(MODEL, RECIPE, DATA, range(2), store=store)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 11), chunk=st.integers(1, 12), periods=st.integers(1, 5))
def test_chunks_leave_no_one_out_and_count_every_period(count, chunk, periods):
    told = []
    work = Work(
        start=lambda own, shared: own + shared,
        advance=lambda own, shared, state, done, until: jnp.where(until == periods, own * 10.0, state),
        periods=periods,
        finish=lambda state: {"tenfold": state},
    )
    members = jnp.arange(count, dtype=jnp.float32)
    result, seconds = run(
        work, members, jnp.float32(1), chunk=chunk, on_progress=lambda done, total: told.append((done, total))
    )
    np.testing.assert_array_equal(result["tenfold"], 10 * np.arange(count))
    assert seconds.shape == (count, periods + 1)
    assert told[-1] == (count * periods, count * periods)
    assert all(a <= b for a, b in itertools.pairwise(told))


def test_no_network_at_all_is_refused():
    with pytest.raises(UserError, match="at least one"):
        map_seeds(lambda own: own, np.zeros((0, 3), np.float32), chunk=2)


def test_any_function_of_one_network_is_lifted():
    rows = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    found = map_seeds(lambda own, a, b: own["x"].sum() * a + b, {"x": rows}, jnp.float32(2), jnp.float32(1), chunk=2)
    np.testing.assert_array_equal(found, 2 * rows.sum(axis=1) + 1)


def test_the_chunk_follows_the_size_of_the_network():
    digits = load("mnist5k")
    assert 1 <= default_chunk(MLP(), Recipe(), digits) <= 16
    assert default_chunk(MLP((784, 4000, 10)), Recipe(), digits) == 1
    assert default_chunk(MLP((2, 2, 1)), Recipe(batch_size=None), load("xor", n=4)) > 1000


def test_snapshots_are_the_networks_of_their_epochs():
    whole = train_many(MODEL, dataclasses.replace(RECIPE, epochs=4, eval_every=2), DATA, [5, 6], snapshots=(0, 2, 4))
    half = train_many(MODEL, dataclasses.replace(RECIPE, epochs=2, eval_every=2), DATA, [5, 6])
    assert whole.snapshots is not None
    start, middle, end = (jax.tree.map(lambda leaf, i=i: leaf[:, i], whole.snapshots) for i in range(3))
    chex.assert_trees_all_equal(end, whole.params)
    chex.assert_trees_all_close(middle, half.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(
        jax.tree.map(lambda leaf: leaf[1], start), jax.tree.map(np.asarray, MODEL.init(make_keys(6).init).params)
    )
    assert half.snapshots is None


@pytest.mark.parametrize("epoch", [1, 6, -2])
def test_snapshots_where_nothing_is_evaluated_are_refused(epoch):
    with pytest.raises(UserError, match=f"snapshots {epoch}: must be an epoch from 0 to 4"):
        train_many(MODEL, dataclasses.replace(RECIPE, epochs=4, eval_every=2), DATA, [5], snapshots=(0, epoch))
