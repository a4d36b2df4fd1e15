import contextlib
import dataclasses

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from mlpjax.data import Dataset, Split, load
from mlpjax.errors import UserError
from mlpjax.keys import Keys, make_keys
from mlpjax.models import MLP, Functions, from_linen
from mlpjax.plumbing.runs import Checkpoints
from mlpjax.recipe import Recipe
from mlpjax.seeds import Trained, apply_sweep, make_members, train_many
from mlpjax.task import augmented, classification, make_task, masked
from mlpjax.train import Observe, Splits, make_train, sampled_rows
from mlpjax.typing import Variables

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


@pytest.mark.parametrize(("seeds", "chunk"), [([17], 3), ([40, 17, 3], 1), ([40, 17, 3], 3)])
def test_seed_17_alone_and_with_others_is_seed_17_among_64_in_any_chunk(sixty_four, seeds, chunk):
    some = train_many(MODEL, RECIPE, DATA, seeds, chunk=chunk)
    chex.assert_trees_all_close(
        figures(some), figures(sixty_four.select(seeds)), rtol=1e-4, atol=1e-6, custom_message="float32 rounding"
    )


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


def test_networks_that_take_a_key_of_one_seed_share_what_it_draws():
    """Two training sets, each with the starts of three seeds."""
    sample, recipe = [7, 7, 7, 9, 9, 9], dataclasses.replace(RECIPE, sample_size=20)
    found = train_many(MODEL, recipe, DATA, [0, 1, 2] * 2, freeze={"sample": np.array(sample)}, snapshots=(0,))
    keys = make_members([0, 1, 2] * 2, freeze={"sample": sample}).keys
    rows = jax.vmap(lambda keys: sampled_rows(keys, len(DATA.train.y), 20))(keys)
    for row, seed in zip(rows, sample, strict=True):
        chex.assert_trees_all_equal(row, sampled_rows(make_keys(seed), len(DATA.train.y), 20))
    chex.assert_trees_all_equal(*(jax.tree.map(lambda leaf, a=a: leaf[a : a + 3], found.snapshots) for a in (0, 3)))
    assert len(np.unique(found.snapshots["dense_0"]["kernel"].reshape(6, -1), axis=0)) == 3
    assert len(np.unique(found.history["train_loss"][:, 0])) == 6
    for a, b in ((0, 3), (1, 4)):
        data = dataclasses.replace(DATA, train=Split(*(leaf[rows[b]] for leaf in DATA.train)))
        alone = train_many(MODEL, RECIPE, data, [b - 3])
        chex.assert_trees_all_close(figures(alone), figures(found.select([b])), rtol=1e-4, atol=1e-5)
        assert (found.params["dense_0"]["kernel"][a] != found.params["dense_0"]["kernel"][b]).any()


def test_a_key_of_another_seed_is_another_training():
    """A store gives the networks of the same keys alone, by whatever name they are frozen."""
    recipe, store = dataclasses.replace(RECIPE, sample_size=20), Memory()
    first = train_many(MODEL, recipe, DATA, [0, 1], freeze={"sample": [0, 0]}, store=store)
    again = train_many(MODEL, recipe, DATA, [0, 1], freeze=("sample",), store=store)
    assert (again.history["seconds"] == first.history["seconds"]).all()
    other = train_many(MODEL, recipe, DATA, [0, 1], freeze={"sample": [0, 5]}, store=store)
    assert other.history["seconds"][0].tolist() == first.history["seconds"][0].tolist()
    fresh = train_many(MODEL, recipe, DATA, [0, 1], freeze={"sample": [0, 5]})
    chex.assert_trees_all_close(figures(other), figures(fresh), rtol=1e-4, atol=1e-6)
    assert (other.history["train_loss"][1] != first.history["train_loss"][1]).any()
    with pytest.raises(UserError, match=r"other \['freeze'\]"):
        train_many(MODEL, recipe, DATA, [0, 1], freeze={"sample": [0, 0], "init": [0, 0]}, store=store)


def test_freezing_the_start_the_order_and_the_dropout_leaves_nothing_to_chance():
    frozen = train_many(MODEL, RECIPE, DATA, [1, 2], freeze=["init", "order", "dropout"])
    chex.assert_trees_all_equal(*(figures(frozen.select([i])) for i in (0, 1)))
    order_varies = train_many(MODEL, RECIPE, DATA, [1, 2], freeze=["init", "dropout"])
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
        pytest.param("momentum", {"momentum": [0.2, 0.9]}, marks=pytest.mark.slow),
        pytest.param("adamw", {"weight_decay": [0.0, 1.0]}, marks=pytest.mark.slow),
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
    with pytest.raises(UserError, match=r"1 of 3 networks diverged, first that of seed 2: lower .* learning_rate"):
        with_it.require_finite()
    with_it.select([0, 2]).require_finite()
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
        ({"freeze": {"weights": [1, 2]}}, "unknown freeze 'weights'"),
        ({"freeze": {"init": [1]}}, "freeze of init: has 1 seeds for 2 networks; give one for each"),
        ({"freeze": {"init": [1, -2]}}, "freeze of init: give at least one, each between 0"),
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
    train_many(MODEL, RECIPE, DATA, range(2), store=store)
    store.joined["something"] = store.joined.pop("seconds")
    with pytest.raises(UserError, match="another version of mlpjax"):
        train_many(MODEL, RECIPE, DATA, range(2), store=store)


def test_snapshots_are_the_networks_of_their_epochs():
    whole = train_many(MODEL, dataclasses.replace(RECIPE, epochs=4, eval_every=2), DATA, [5, 6], snapshots=(0, 2, 4))
    half = train_many(MODEL, dataclasses.replace(RECIPE, epochs=2, eval_every=2), DATA, [5, 6])
    assert whole.snapshots is not None
    start, middle, end = (jax.tree.map(lambda leaf, i=i: leaf[:, i], whole.snapshots) for i in range(3))
    chex.assert_trees_all_equal(end, whole.params)
    chex.assert_trees_all_close(middle, half.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[1], start), MODEL.init(make_keys(6).init).params, rtol=1e-6, atol=1e-7
    )
    assert half.snapshots is None


def test_what_is_observed_takes_its_place_in_an_accelerators_memory(monkeypatch):
    costs = []
    monkeypatch.setattr("mlpjax.seeds.free_memory", lambda: 1e9)
    monkeypatch.setattr("mlpjax.seeds.default_chunk", lambda cost, _: costs.append(cost) or 2)
    train_many(MODEL, RECIPE, DATA, [5])
    found = train_many(MODEL, RECIPE, DATA, [5], snapshots=(0, 2, 4))
    plain, observed = (cost.beside for cost in costs)
    assert observed - plain == sum(leaf.nbytes for leaf in jax.tree.leaves(found.snapshots))


@pytest.mark.parametrize("epoch", [6, -2])
def test_snapshots_outside_of_the_training_are_refused(epoch):
    with pytest.raises(UserError, match="snapshots: must be observed at one time or more, from epoch 0 to 4"):
        train_many(MODEL, dataclasses.replace(RECIPE, epochs=4, eval_every=2), DATA, [5], snapshots=(0, epoch))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    store = Checkpoints(tmp_path_factory.mktemp("kept"))
    return store, train_many(MODEL, RECIPE, DATA, range(3), store=store)


OTHER = dataclasses.replace(DATA, train=DATA.train._replace(x=DATA.train.x + np.float32(1e-3)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"recipe": dataclasses.replace(RECIPE, learning_rate=0.3)}, "learning_rate 0.02, not 0.3"),
        ({"recipe": dataclasses.replace(RECIPE, epochs=8)}, "epochs 4, not 8"),
        ({"model": dataclasses.replace(MODEL, activation="tanh")}, "activation relu, not tanh"),
        ({"model": MLP((2, 7, 2), dropout=(0.2,))}, "widths "),
        ({"sweep": {"ridge": np.ones(3)}}, "sweep none, not ridge"),
        ({"freeze": ["init"]}, "freeze none, not init"),
        ({"stop": lambda moment: moment.epoch > 2}, "stop None, not "),
        ({"task": lambda *parts: augmented(make_task(*parts), lambda _, x: x)}, "task make_task"),
        ({"snapshots": (2,)}, "observed snapshots not set, not "),
        ({"dataset": OTHER}, "data "),
    ],
)
def test_a_store_never_gives_the_networks_of_another_training(kept, arguments, said):
    store, _ = kept
    with pytest.raises(UserError, match=rf"holds results for {said}.*: choose another folder, or delete this one"):
        train_many(**{"model": MODEL, "recipe": RECIPE, "dataset": DATA, "seeds": range(3), "store": store} | arguments)


def test_more_seeds_are_added_to_a_store(kept):
    store, three = kept
    five = train_many(MODEL, RECIPE, DATA, [2, 0, 7, 1, 8], store=store)
    chex.assert_trees_all_equal(figures(five.select([1, 3, 0])), figures(three))
    fresh = train_many(MODEL, RECIPE, DATA, [7, 8])
    chex.assert_trees_all_close(figures(five.select([2, 4])), figures(fresh), rtol=1e-4, atol=1e-6)
    assert (five.history["seconds"][[1, 3, 0]] == three.history["seconds"]).all()


def test_a_training_goes_on_from_where_another_was():
    """With the optimizer's state and the steps behind it, the second half is that of the whole."""
    recipe = dataclasses.replace(RECIPE, epochs=2)
    whole = train_many(MODEL, RECIPE, DATA, [3, 4], observe={"half": Observe(lambda moment: moment.state, epochs=(2,))})
    half = jax.tree.map(lambda leaf: leaf[:, 0], whole.observed["half"])
    assert half.step.tolist() == [8, 8]
    rest = train_many(MODEL, recipe, DATA, [3, 4], start=half)
    chex.assert_trees_all_close(rest.params, whole.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rest.history["test_loss"], whole.history["test_loss"][:, 2:], rtol=1e-4)


def test_branches_from_one_network_differ_by_what_is_left_to_chance():
    """Children of one parent at an epoch, with other orders of the data (Frankle et al., arXiv:1912.05671)."""
    parent = train_many(MODEL, RECIPE, DATA, [3], snapshots=(2,))
    branch = jax.tree.map(lambda leaf: np.repeat(leaf[:, 0], 2, axis=0), parent.snapshots)
    children = train_many(MODEL, RECIPE, DATA, [10, 11], start=branch)
    np.testing.assert_allclose(children.history["test_loss"][:, 0], parent.history["test_loss"][0, 2], rtol=1e-5)
    assert children.history["test_loss"][0, -1] != children.history["test_loss"][1, -1]
    twins = train_many(MODEL, RECIPE, DATA, [10, 10], start=branch)
    chex.assert_trees_all_equal(*(figures(twins.select([row])) for row in (0, 1)))


@pytest.fixture(scope="module")
def ended():
    """The state of two networks at the end of their training."""
    observe = {"end": Observe(lambda moment: moment.state, epochs=(4,))}
    return jax.tree.map(
        lambda leaf: leaf[:, 0], train_many(MODEL, RECIPE, DATA, [3, 4], observe=observe).observed["end"]
    )


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (lambda state: jax.tree.map(lambda leaf: leaf[:1], state.params), "start: give every array one row for each"),
        (lambda state: state._replace(step=np.array([1, 2])), "start: the networks have different numbers of steps"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(ended, start, said):
    with pytest.raises(UserError, match=said):
        train_many(MODEL, RECIPE, DATA, [3, 4], start=start(ended))


def test_each_network_may_have_arrays_of_its_own():
    def pruned(model, recipe, train, mask):
        return masked(make_task(model, recipe, train), mask)

    params = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(MODEL.init(make_keys(seed).init).params for seed in (5, 6))
    )
    keep = jax.tree.map(lambda leaf: np.random.default_rng(0).random(leaf.shape) < 0.5, params)
    found = train_many(MODEL, RECIPE, DATA, [5, 6], task=pruned, own=keep)
    for leaf, kept, start in zip(*map(jax.tree.leaves, (found.params, keep, params)), strict=True):
        assert (leaf[~kept] == 0).all()
        assert leaf.ndim < 3 or (leaf[kept] != start[kept]).any()
    with pytest.raises(UserError, match="own: give every array one row for each of the 1 networks"):
        train_many(MODEL, RECIPE, DATA, [5], task=pruned, own=keep)


def test_seeds_stop_each_for_itself_and_are_not_taken_for_diverged():
    def solved(moment):
        return moment.history["train_loss"][moment.epoch] < 0.6

    recipe = dataclasses.replace(RECIPE, epochs=40)
    whole = train_many(MODEL, recipe, DATA, range(6))
    stopped = train_many(MODEL, recipe, DATA, range(6), stop=solved, chunk=2)
    losses = whole.history["train_loss"]
    solved_at = losses[:, 1:] < 0.6  # not asked at the start
    expected = np.where(solved_at.any(axis=1), 1 + solved_at.argmax(axis=1), -1).tolist()
    assert stopped.stopped_at.tolist() == expected
    assert len(set(expected)) > 1
    assert not stopped.diverged.any()
    for row, at in enumerate(expected):
        np.testing.assert_allclose(stopped.history["train_loss"][row, -1], losses[row, at], rtol=1e-4)
    assert -1 not in expected
    assert (stopped.history["seconds"][:, 2 * max(expected) + 2 :] == 0).all()  # of a block that doubles in length


def test_errors_are_in_percent_and_early_stopping_keeps_the_lowest_validation_loss():
    history = {"test_accuracy": np.float32([[0.1, 0.75], [0.5, 0.98]]), "valid_loss": np.float32([[2, 1], [1, 1]])}
    found = Trained(np.arange(2), {}, history)
    np.testing.assert_allclose(found.error(), [[90, 25], [50, 2]], atol=1e-5)
    assert found.error()[range(2), found.best_evaluation].tolist() == [pytest.approx(25), pytest.approx(50)]


def test_regression_is_trained_on_floats():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).astype(np.float32)
    y = np.stack([x @ [1.0, -2.0, 0.5], x[:, 0]], axis=1).astype(np.float32)
    data = Dataset("plane", Split(x[:80], y[:80]), Split(x[:0], y[:0]), Split(x[80:], y[80:]))
    recipe = Recipe("squared_error", learning_rate=0.05, batch_size=20, epochs=30, normalisation="feature")
    found = train_many(MLP((3, 2)), recipe, data, range(2))
    assert found.history.keys() >= {"train_loss", "test_rmse", "test_r2"}
    assert "test_accuracy" not in found.history
    assert (found.history["test_r2"][:, -1] > 0.99).all()
    with pytest.raises(UserError, match="plane has 2 targets, so with squared_error the last width must be 2"):
        train_many(MLP((3, 1)), recipe, data, range(2))


class Convolutional(nn.Module):
    """A user's own network, with batch normalisation and dropout."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x[..., None])))
        return nn.Dense(10)(nn.Dropout(0.1, deterministic=not train)(x.mean(axis=(1, 2))))


def test_a_linen_module_with_batch_statistics_is_trained_like_any_other(coarse_digits):
    recipe = Recipe(learning_rate=0.03, batch_size=50, epochs=4)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # flax's own code
        found = train_many(from_linen(Convolutional(), "train"), recipe, coarse_digits, range(3))
    assert (found.history["train_loss"][:, -1] < found.history["train_loss"][:, 0]).all()
    assert np.abs(found.stats["batch_stats"]["BatchNorm_0"]["mean"]).min() > 0
    assert found.variables.stats is found.stats


def test_a_pair_of_functions_is_a_model():
    def init(key, x):
        return Variables([jax.random.normal(key, (x.shape[1], 2)) * 0.1])

    def apply(variables, x, key=None):
        del key
        return jnp.tanh(x @ variables.params[0]), variables.stats

    found = train_many(Functions(init, apply), RECIPE, DATA, range(2))
    assert found.params[0].shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda split: split._replace(y=split.y + np.int32(1)), "has label 2, outside the 2 classes"),
        (lambda split: split._replace(x=np.where(split.x > 0.9, np.nan, split.x).astype(np.float32)), "is nan"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(change, said):
    with pytest.raises(UserError, match=said):
        train_many(MODEL, RECIPE, dataclasses.replace(DATA, train=change(DATA.train)), range(2))


@pytest.mark.parametrize(
    ("seeds", "dataset", "freeze", "said"),
    [
        (4, DATA, (), r"seeds 4: give one for each network, such as range\(4\)"),
        ([0.5], DATA, (), "seeds: give whole numbers"),
        ([0], DATA.train, (), "dataset: is Split; give what load or Dataset.from_arrays makes"),
        ([0], DATA, {"init": np.array([0.5])}, "freeze of init: give whole numbers"),
        ([0], DATA, "order", r"freeze 'order': give a tuple of names, such as \('order',\)"),
    ],
)
def test_what_is_of_no_such_type_is_refused(seeds, dataset, freeze, said, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=said):
        train_many(MODEL, RECIPE, dataset, seeds, freeze=freeze)
