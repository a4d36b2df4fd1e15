"""One network to many: chunks, what is told on the way, and stores that know what they hold."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpjax.data import load
from mlpjax.errors import UserError
from mlpjax.lift import Cost, Work, default_chunk, map_seeds, run
from mlpjax.models import MLP
from mlpjax.plumbing.runs import Checkpoints
from mlpjax.recipe import Recipe
from mlpjax.seeds import step_cost
from mlpjax.task import make_task


def cost(widths, data, **recipe):
    settings_ = Recipe(**recipe)
    return step_cost(make_task(MLP(widths), settings_, data.train), settings_, data.train)


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
    members = np.arange(count, dtype=np.float32)
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
    assert 1 <= default_chunk(cost(MLP().widths, digits)) <= 16
    assert default_chunk(cost((784, 4000, 10), digits)) == 1
    assert default_chunk(cost((2, 2, 1), load("xor", n=4), batch_size=None, loss="squared_error")) > 1000


def test_the_cost_of_a_step_is_that_of_its_products():
    digits = load("mnist5k")
    found = cost((784, 256, 128, 10), digits, batch_size=128)
    weights = 784 * 256 + 256 * 128 + 128 * 10
    assert found.flops == 3 * 2 * 128 * weights
    assert found.bytes == 4 * 4 * 235_146 + 2 * 4 * 128 * (784 + 256 + 128 + 10)


@pytest.mark.parametrize(
    ("free", "widths", "expected"),
    [
        (80e9, (784, 256, 128, 10), 555),  # enough to keep any accelerator busy: 1e11 / 180 MFLOP
        (2e9, (784, 256, 128, 10), 101),  # half of the memory, less the data's, over what a network takes
        (80e9, (2, 2, 1), 100_000_000),  # of the smallest as many as anyone wants
        (1e6, (784, 256, 128, 10), 1),
    ],
)
def test_on_an_accelerator_seeds_fill_the_free_memory(monkeypatch, free, widths, expected):
    """With a faked report of the memory: whether the chunk is a good one, only such a device can tell."""
    monkeypatch.setattr("mlpjax.lift.free_memory", lambda: free)
    data = load("mnist5k") if widths[0] == 784 else load("xor", n=4)
    found = default_chunk(
        cost(widths, data, **({} if widths[0] == 784 else {"batch_size": None, "loss": "squared_error"}))
    )
    assert 0.9 * expected <= found <= 1.1 * expected
    more = default_chunk(Cost(bytes=1000, beside=9000), shared_bytes=int(free / 2))
    assert more == max(1, int(0.5 * free / 2 / 10_000))


def double(own, factor):
    return {"doubled": own * factor}


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path / "kept")


def test_a_store_is_added_to_and_gives_the_rows_that_are_asked_for(store):
    calls = []

    def count(done, total):
        calls.append((done, total))

    def ask(*rows):
        calls.clear()
        own = np.array(rows, np.float32)
        found = map_seeds(double, own, jnp.float32(2), chunk=2, store=store, on_progress=count)
        np.testing.assert_array_equal(found["doubled"], 2 * own)
        return len(calls)

    ask(1, 2, 3)
    ask(3, 4, 1, 5, 6)  # three are kept, the others are added
    assert len(np.load(store.folder / "networks" / "row.npy")) == 6
    ask(2, 2, 6)
    assert len(np.load(store.folder / "networks" / "row.npy")) == 6


@pytest.mark.parametrize(
    ("function", "shared", "said"),
    [
        (lambda own, factor: {"doubled": own + factor}, 2.0, "function"),
        (double, 3.0, "data"),
    ],
)
def test_a_store_of_other_work_is_refused_by_name(store, function, shared, said):
    own = np.arange(3, dtype=np.float32)
    map_seeds(double, own, jnp.float32(2), chunk=2, store=store)
    with pytest.raises(UserError, match=f"holds results for {said} .*: choose another folder, or delete this one"):
        map_seeds(function, own, jnp.float32(shared), chunk=2, store=store)
    found = map_seeds(double, own, jnp.float32(2), chunk=2, store=store)  # nothing was lost
    np.testing.assert_array_equal(found["doubled"], 2 * own)


def test_a_call_that_was_cut_short_leaves_what_it_finished_to_another(store):
    """Five networks are cut after two parts of two; then six others are wanted, four of which are kept."""

    def stop(done, _):
        if done >= 4:
            raise KeyboardInterrupt

    work = Work(lambda own, _: own, lambda own, _, state, done, until: 10 * own, 1, lambda state: state)
    rows = np.arange(5, dtype=np.float32)
    with jax.default_device(jax.devices()[0]), pytest.raises(KeyboardInterrupt):
        run(work, rows, jnp.float32(0), chunk=1, store=store, identity={"work": "ten"}, on_progress=stop)
    assert store.stacked() is None
    result, _ = run(
        work, np.arange(6, dtype=np.float32), jnp.float32(0), chunk=1, store=store, identity={"work": "ten"}
    )
    np.testing.assert_array_equal(result, 10 * np.arange(6))
    assert store.names() == []
