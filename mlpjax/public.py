"""The names that `mlpjax` offers; the package imports this module when one of them is first wanted."""

from mlpjax.data import Dataset, Split, load, scale
from mlpjax.errors import UserError
from mlpjax.models import MLP, count_parameters
from mlpjax.plumbing.compilation import remember_compilations
from mlpjax.plumbing.devices import use_all_cores
from mlpjax.recipe import Recipe
from mlpjax.seeds import Trained, make_members, map_seeds, train_many
from mlpjax.train import Batch, Keys, Splits, evaluate, init_state, make_keys, make_train, make_train_step

__all__ = [
    "MLP",
    "Batch",
    "Dataset",
    "Keys",
    "Recipe",
    "Split",
    "Splits",
    "Trained",
    "UserError",
    "count_parameters",
    "evaluate",
    "init_state",
    "load",
    "make_keys",
    "make_members",
    "make_train",
    "make_train_step",
    "map_seeds",
    "remember_compilations",
    "scale",
    "train_many",
    "use_all_cores",
]
