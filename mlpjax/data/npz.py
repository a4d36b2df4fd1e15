"""Arrays of one's own in a NumPy archive."""

from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from mlpjax.data.dataset import Dataset
from mlpjax.data.files import Files, make_dataset
from mlpjax.errors import UserError

NAMES = {"train": ("x_train", "y_train"), "valid": ("x_valid", "y_valid"), "test": ("x_test", "y_test")}
WHOLE = ("x", "y")


def read_npz(file: str | Path, files: Files = Files()) -> Dataset:
    """Arrays that `numpy.savez` wrote: x and y, or x_train and y_train, and where there are such splits x_valid ...

    Args:
        file: the archive; nothing in it is unpickled.
        files: how to read it; floats in y are targets of a regression, words and whole numbers are classes.

    Returns:
        uint8 where x is, else float32.

    Raises:
        UserError: no such file, no such archive, one array without the other, pickled objects, and what `make_dataset`
            refuses.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"npz:{path}: no such file")
    arrays = read_arrays(path)
    pairs = {}
    for part, (x, y) in ({"train": WHOLE} if {*WHOLE} & {*arrays} else NAMES).items():
        if (x in arrays) != (y in arrays):
            raise UserError(f"{path} has {x if x in arrays else y} but no {y if x in arrays else x}; save both")
        if x in arrays:
            pairs[part] = arrays[x], arrays[y]
    if not pairs:
        held = ", ".join(arrays) or "one array without a name"
        raise UserError(f"{path} holds {held}; want x and y, or x_train, y_train, x_test and y_test")
    return make_dataset(f"npz:{file}", f"arrays in {path}", pairs, files)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an archive that `numpy.savez` wrote, by name; nothing is unpickled.

    Args:
        path: the archive.

    Returns:
        The arrays; none where the file is one array without a name.

    Raises:
        UserError: it is no such archive, broken, or holds pickled objects.
    """
    try:
        with path.open("rb") as opened:
            archive = np.load(opened, allow_pickle=False)
            return {name: archive[name] for name in archive.files} if isinstance(archive, NpzFile) else {}
    # Whatever the readers of archives and of headers raise for broken files: there is no list of it.
    except Exception as error:
        said = " ".join(str(error).split())[:150]
        raise UserError(f"{path} cannot be read ({said}); write it with numpy.savez") from None
