"""What the commands `study` and `sweep` have in common: what is trained, on what, from which seeds."""

import dataclasses
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from mlpjax.data import Dataset, Files, load
from mlpjax.data.dataset import with_label_noise
from mlpjax.deformation import Deformation
from mlpjax.errors import UserError
from mlpjax.models import MLP
from mlpjax.plumbing.identity import plain
from mlpjax.recipe import Recipe
from mlpjax.seeds import MakeTask
from mlpjax.task import Task, augmented, make_task
from mlpjax.vgg import VGG

C = TypeVar("C", bound="Configuration")
DATA_FIELDS = ("data", "label_noise", *(field.name for field in dataclasses.fields(Files)))
"""Fields that make another data set."""
DEFORMATION_FIELDS = tuple(field.name for field in dataclasses.fields(Deformation))


def deformed_task(deformation: Deformation, *parts: Any, **fields: Any) -> Task:
    """The task of one network whose training examples are deformed, with some fields of the deformation replaced."""
    task, deformation = make_task(*parts), dataclasses.replace(deformation, **fields)
    return task if deformation == Deformation() else augmented(task, deformation)


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A network, its recipe, its data and its seeds."""

    data: str = "mnist5k"
    """Data set: mnist5k, xor, mnist1d, idx:DIR (four idx files, such as full MNIST) or tfds:NAME; or files of your own:
    folder:DIR (images, one folder a class; a zip or tar archive, too), csv:FILE (numbers, or names of images) or
    npz:FILE (arrays x and y)."""
    seeds: int = 64
    """Networks that start at random, each from a seed of its own."""
    first_seed: int = 0
    """The first of these seeds; the others follow it."""
    freeze: tuple[Literal["init", "order", "dropout", "sample"], ...] = ()
    """What chance decides alike for all seeds: init (weights), order (of examples), dropout, sample (of examples)."""
    label_noise: float = 0.0
    """Share of the training and validation labels, in [0, 1], that are replaced by another class."""
    chunk: int | None = None
    """Networks trained side by side on each core or device; None: as many as its cache holds. It changes the speed, not
    the figures."""
    memory_budget: float | None = None
    """Bytes that the examples may take on a device (4e9): where there are more of them, they are read a minibatch at a
    time. None: no limit. It changes the speed, not the figures."""
    model: MLP | VGG = dataclasses.field(default_factory=MLP)
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    deformation: Deformation = dataclasses.field(default_factory=Deformation)
    files: Files = dataclasses.field(default_factory=Files)

    def __post_init__(self) -> None:
        for field, low in (("seeds", 1), ("first_seed", 0)):
            if getattr(self, field) < low:
                raise UserError(f"{field} {getattr(self, field)}: must be at least {low}")
        if not 0 <= self.label_noise <= 1:
            raise UserError(f"label_noise {self.label_noise}: give a share from 0 to 1")

    @property
    def random_seeds(self) -> range:
        """The seeds of the networks that start at random."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def make_task(self) -> MakeTask:
        """Makes the task of one network: what it trains on is deformed, where that is asked for."""
        return make_task if self.deformation == Deformation() else partial(deformed_task, self.deformation)

    def load(self) -> Dataset:
        """Read the data, with wrong labels where that is asked for."""
        dataset = load(self.data, **({} if self.files == Files() else {"files": self.files}))
        return with_label_noise(dataset, self.label_noise) if self.label_noise else dataset

    def fitted(self: C, dataset: Dataset) -> C:
        """The same with what its network takes from the data: the classes of a VGG that has none given."""
        if not isinstance(self.model, VGG) or self.model.classes is not None:
            return self
        return dataclasses.replace(self, model=dataclasses.replace(self.model, classes=self.outputs(dataset)))

    def outputs(self, dataset: Dataset) -> int:
        """How many outputs a network needs for the data and the loss."""
        return 1 if self.recipe.loss == "binary_cross_entropy" else dataset.outputs


def default_folder(command: str, config: Configuration) -> Path:
    """The run's folder where none is named: one for each configuration, so that the same command goes on.

    Args:
        command: "study" or "sweep".
        config: its configuration.
    """
    digest = hashlib.sha256(json.dumps(plain(config), sort_keys=True).encode()).hexdigest()
    name = "".join(c if c.isalnum() or c == "-" else "-" for c in config.data).strip("-")
    return Path("runs") / f"{command}-{name}-{digest[:8]}"
