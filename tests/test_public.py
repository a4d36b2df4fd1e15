"""The names that the package offers: there when wanted, known to tools, and of no cost before."""

import subprocess
import sys
from pathlib import Path

import pytest

import mlpjax
from mlpjax import public

ROOT = Path(__file__).parent.parent


def test_every_public_name_is_there_when_it_is_wanted():
    assert set(public.__all__) <= set(dir(mlpjax))
    for name in public.__all__:
        assert getattr(mlpjax, name) is getattr(public, name)
    everything: dict[str, object] = {}
    exec("from mlpjax import *", everything)
    assert set(public.__all__) <= everything.keys()


def test_a_name_that_is_not_there_is_refused_as_by_any_module():
    for name in ("train_money", "_secret", "__wrapped__"):
        with pytest.raises(AttributeError, match=f"module 'mlpjax' has no attribute '{name}'"):
            getattr(mlpjax, name)


@pytest.mark.parametrize(
    "code",
    [
        "assert 'jax' not in sys.modules; mlpjax.MLP; assert 'jax' in sys.modules; assert 'sklearn' not in sys.modules",
        "assert 'train_many' in dir(mlpjax)",
        "from mlpjax import landscape, MLP; landscape.__name__",
        "from mlpjax import *; train_many, use_all_cores",
    ],
)
def test_a_fresh_interpreter_finds_the_names(code):
    subprocess.run([sys.executable, "-c", f"import sys, mlpjax; {code}"], check=True)


TYPED = """
import mlpjax
from mlpjax import MLP, train_money
reveal_type(MLP().name)
mlpjax.train_money
"""


def test_a_type_checker_knows_the_names_and_no_others(tmp_path):
    (tmp_path / "typed.py").write_text(TYPED)
    # From the checkout, with the cache of `make test`: without it this takes a quarter of a minute.
    command = [sys.executable, "-m", "mypy", tmp_path / "typed.py"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    first, second, third, _ = (line.partition("typed.py:")[2] for line in ran.stdout.splitlines())
    assert first.startswith('3: error: Module "mlpjax" has no attribute "train_money"')
    assert second == '4: note: Revealed type is "str"'
    assert third.startswith('5: error: Module has no attribute "train_money"')
