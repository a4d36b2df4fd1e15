"""Data that an experiment needs and its user must get."""

import os
from typing import NamedTuple


class Needs(NamedTuple):
    """A data set that is not packaged: an experiment without it is skipped, but for `--quick`."""

    what: str
    """Of which data, after "needs"."""
    variable: str
    """The environment variable that says where it is."""
    kind: str
    """What a bare path in it is read as: "idx" or "folder"."""
    how: str
    """How to name it, after "give"."""

    def of_environment(self) -> str:
        """What the environment says of where it is, as `load` takes it; empty where it says nothing."""
        spec = os.environ.get(self.variable, "")
        return spec if spec.startswith((f"{self.kind}:", "tfds:")) or not spec else f"{self.kind}:{spec}"

    def told(self, spec: str) -> str:
        """The same without the user's own folder, which says nothing to anyone else."""
        return f"{self.kind}:DIR" if spec.startswith(f"{self.kind}:") else spec


MNIST = Needs(
    "all of MNIST",
    "MLPJAX_MNIST",
    "idx",
    "--data idx:DIR, with DIR the folder of its four idx files, or pip install '.[tfds]' and give --data tfds:mnist",
)
