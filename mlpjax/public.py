"""The names that `mlpjax` offers; the package imports this module when one of them is first wanted."""

from mlpjax.activations import Activation
from mlpjax.colour import ColourJitter
from mlpjax.data import Dataset, Files, Split, load
from mlpjax.deformation import Deformation
from mlpjax.embedding import embedded
from mlpjax.errors import UserError
from mlpjax.keys import Keys, make_keys
from mlpjax.lift import map_seeds
from mlpjax.losses import Loss
from mlpjax.models import MLP, Functions, Model, count_parameters, from_linen
from mlpjax.plumbing.compilation import remember_compilations
from mlpjax.plumbing.devices import use_all_cores
from mlpjax.plumbing.progress import progress_bar
from mlpjax.plumbing.runs import Checkpoints
from mlpjax.recipe import Recipe, soft_threshold
from mlpjax.seeds import Trained, make_members, train_many
from mlpjax.sweeps import Swept, sweep
from mlpjax.task import (
    Batch,
    Metric,
    Task,
    adversarial,
    augmented,
    classification,
    evaluate,
    make_task,
    masked,
    mean_loss,
    regression,
)
from mlpjax.train import (
    Moment,
    Observe,
    Splits,
    TrainState,
    init_state,
    make_train,
    make_train_step,
    patience,
    sampled_rows,
    steps_per_epoch,
)
from mlpjax.typing import Variables
from mlpjax.vgg import VGG
from mlpjax.weights import load_weights

__all__ = [
    "MLP",
    "VGG",
    "Activation",
    "Batch",
    "Checkpoints",
    "ColourJitter",
    "Dataset",
    "Deformation",
    "Files",
    "Functions",
    "Keys",
    "Loss",
    "Metric",
    "Model",
    "Moment",
    "Observe",
    "Recipe",
    "Split",
    "Splits",
    "Swept",
    "Task",
    "TrainState",
    "Trained",
    "UserError",
    "Variables",
    "adversarial",
    "augmented",
    "classification",
    "count_parameters",
    "embedded",
    "evaluate",
    "from_linen",
    "init_state",
    "load",
    "load_weights",
    "make_keys",
    "make_members",
    "make_task",
    "make_train",
    "make_train_step",
    "map_seeds",
    "masked",
    "mean_loss",
    "patience",
    "progress_bar",
    "regression",
    "remember_compilations",
    "sampled_rows",
    "soft_threshold",
    "steps_per_epoch",
    "sweep",
    "train_many",
    "use_all_cores",
]
