"""A description is the same for what computes the same, in any process, and differs for what does not."""

import dataclasses
import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpjax.models import MLP
from mlpjax.plumbing.identity import describe, digest, row_digests
from mlpjax.recipe import Recipe


def scaled(factor):
    return lambda x: factor * x


class Doubled:
    def __call__(self, x):
        return 2 * x


class Tripled:
    def __call__(self, x):
        return 3 * x


Tripled.__qualname__ = Tripled.__call__.__qualname__ = "Doubled"


def in_a_module(**names):
    """A function that names a constant and a helper of its module."""
    module = {"__name__": "own", **names}
    exec("def helper(x): return x + SHIFT\ndef look(x): return FACTOR * helper(x)", module)
    return module["look"]


def with_helper(body):
    module = {"__name__": "own"}
    exec(f"def helper(x): return {body}\ndef look(x): return helper(x)", module)
    return module["look"]


PAIRS = [
    (Doubled, Tripled),
    (in_a_module(FACTOR=2, SHIFT=0), in_a_module(FACTOR=3, SHIFT=0)),
    (in_a_module(FACTOR=2, SHIFT=0), in_a_module(FACTOR=2, SHIFT=1)),
    (with_helper("x"), with_helper("x + 1")),
    (with_helper("look(x - 1)"), with_helper("look(x - 2)")),
    (0.1, 0.2),
    (1, True),
    ((1, 2), [1, 2]),
    (np.float32(1), np.float64(1)),
    (np.arange(3), np.arange(1, 4)),
    (jnp.tanh, jnp.sin),
    (lambda x: x + 1, lambda x: x + 2),
    (scaled(2.0), scaled(3.0)),
    (scaled(np.arange(3)), scaled(np.arange(1, 4))),
    (functools.partial(scaled, 1), functools.partial(scaled, 2)),
    (lambda x, a=1: x, lambda x, a=2: x),
    (MLP((2, 3, 2)), MLP((2, 4, 2))),
    (Recipe(), dataclasses.replace(Recipe(), learning_rate=0.5)),
    ({"a": 1}, {"a": 2}),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_computes_something_else_is_described_otherwise(one, other):
    assert describe(one) == describe(one)
    assert describe(one) != describe(other)


def test_equal_functions_made_anew_are_described_alike():
    assert describe(scaled(np.arange(3))) == describe(scaled(np.arange(3)))
    assert describe(jax.jit(scaled(2.0))) == describe(jax.jit(scaled(2.0)))


def test_another_process_says_the_same():
    code = (
        "import mlpjax\nfrom mlpjax.plumbing.identity import describe, digest\nimport numpy as np\n"
        "print(describe(mlpjax.MLP()), describe(mlpjax.make_task), digest({'a': np.arange(4)}))\n"
        "print(describe(lambda x: x in {'a', 'b', 'c'}))"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


def test_a_digest_is_of_content_shape_type_and_name():
    trees = [
        {"a": np.arange(4)},
        {"b": np.arange(4)},
        {"a": np.arange(4).reshape(2, 2)},
        {"a": np.arange(4, dtype=np.int32)},
        {"a": np.arange(1, 5)},
    ]
    assert len({digest(tree) for tree in trees}) == len(trees)
    assert digest({"a": np.arange(4, dtype=np.int32)}) == digest({"a": jnp.arange(4)})


def test_rows_are_told_apart_by_all_their_columns():
    tree = {"a": np.array([1, 1, 2]), "b": np.array([[0.0], [1.0], [0.0]])}
    rows = row_digests(tree)
    assert len({row.tobytes() for row in rows}) == 3
    again = row_digests(jax.tree.map(lambda leaf: leaf[[2, 0]], tree))
    np.testing.assert_array_equal(again, rows[[2, 0]])
    keys = row_digests(jax.random.split(jax.random.key(0), 3))
    assert len({row.tobytes() for row in keys}) == 3
