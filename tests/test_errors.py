import subprocess
import sys

import pytest

from mlpjax.errors import UserError, require_choice


def test_the_nearest_choice_is_named():
    with pytest.raises(UserError, match=r"^unknown pet 'catt': did you mean 'cat'\? choose from cat, dog$"):
        require_choice("pet", "catt", ["dog", "cat"])
    with pytest.raises(UserError, match=r"^unknown pet 'zebra': choose from cat, dog$"):
        require_choice("pet", "zebra", ["dog", "cat"])
    with pytest.raises(UserError, match=r"^unknown pet 'DOG': did you mean 'dog'\?"):
        require_choice("pet", "DOG", ["do", "dog"])
    require_choice("pet", "dog", ["dog", "cat"])


PROBE = """
from mlpjax.errors import UserError
from mlpjax.models import MLP
from mlpjax.recipe import Recipe

for what, arguments in [
    (MLP, {"activation": "rellu"}), (MLP, {"initializer": "hee"}), (MLP, {"bias": "some"}),
    (Recipe, {"optimizer": "adamm"}), (Recipe, {"schedule": "onecycle"}), (Recipe, {"loss": "mse"}),
]:
    try:
        what(**arguments)
    except UserError as error:
        print(str(error).split(":")[0])
"""


def test_unknown_names_are_refused_without_a_type_checker():
    """In a process of its own, since here the type checker is first to refuse them."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "unknown activation 'rellu'",
        "unknown initializer 'hee'",
        "unknown bias 'some'",
        "unknown optimizer 'adamm'",
        "unknown schedule 'onecycle'",
        "unknown loss 'mse'",
    ]
