"""Where arrays come from: generated, packaged, one's own files, TensorFlow Datasets; all checked at the door."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from mlpjax.data.check import Facts, check, require_usable
from mlpjax.data.dataset import Dataset, Split
from mlpjax.data.files import Files
from mlpjax.data.folder import read_folder
from mlpjax.data.generated import make_mnist1d, make_xor
from mlpjax.data.idx import read_idx
from mlpjax.data.npz import read_npz
from mlpjax.data.packaged import read_mnist5k
from mlpjax.data.table import read_csv
from mlpjax.data.tfds import read_tfds
from mlpjax.errors import UserError, require_choice

__all__ = ["LOADERS", "Dataset", "Facts", "Files", "Split", "check", "load", "require_usable"]

LOADERS: dict[str, Callable[..., Dataset]] = {
    "mnist5k": read_mnist5k,
    "xor": make_xor,
    "mnist1d": make_mnist1d,
    "idx:DIR": read_idx,
    "csv:FILE": read_csv,
    "folder:DIR": read_folder,
    "npz:FILE": read_npz,
    "tfds:NAME": read_tfds,
}


def load(spec: str, **options: Any) -> Dataset:
    """Load a data set by name and check it.

    Args:
        spec: one of the keys of `LOADERS`, with DIR, FILE or NAME filled in ("mnist5k", "idx:~/mnist").
        options: further arguments of that loader (noise=0.2 for "xor").

    Returns:
        The data set, as its loader says; `check` tells what is in it.

    Raises:
        UserError: an unknown data set or option, or data that cannot be used.
    """
    kind, _, where = spec.partition(":")
    form = next((f for f in LOADERS if f.partition(":")[0] == kind and (":" in f) == bool(where)), spec)
    require_choice("data set", form, LOADERS)
    loader = LOADERS[form]
    addressed = [where] if where else []
    allowed = list(signature(loader).parameters)[len(addressed) :]
    for name in options:
        if name not in allowed:
            raise UserError(f"data set {form!r} has no option {name!r}; it takes {', '.join(allowed) or 'none'}")
    dataset = loader(*addressed, **options)
    check(dataset)
    return dataset
