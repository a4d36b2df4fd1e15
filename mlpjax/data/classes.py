"""Classes by number: what stands in the data as a word or a number of its own."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int32, Shaped

from mlpjax.errors import UserError


def number_classes(
    labels: Mapping[str, Shaped[np.ndarray, " rows"]], class_names: Sequence[str], where: str
) -> tuple[tuple[str, ...], dict[str, Int32[np.ndarray, " rows"]]]:
    """Give every class a number, the same in all splits.

    Args:
        labels: words or whole numbers, by split.
        class_names: the classes in the order of their numbers; empty: those that occur in any split, whole numbers in
            ascending and words in alphabetical order.
        where: the data set, for what is refused.

    Returns:
        The names of the classes, and by split the number of each row's class.

    Raises:
        UserError: a row without a label, one that is not among the classes, or a name that stands twice among them.
    """
    if twice := sorted({name for name in class_names if list(class_names).count(name) > 1}):
        raise UserError(f"class_names: {twice[0]} stands there twice")
    words = {part: np.char.strip(np.asarray(values).astype(str)) for part, values in labels.items()}
    for part, values in words.items():
        if (missing := np.flatnonzero((values == "") | (values == "nan"))).size:
            raise UserError(f"{where}, {part}: row {missing[0]} has no label; mend or drop the row")
    names = np.unique(np.concatenate([*words.values(), np.array(class_names, str)]))
    if class_names:
        if unknown := sorted({*names} - {*class_names}):
            raise UserError(f"{where}: {unknown[0]} is none of the classes {', '.join(class_names)}")
        names = np.array(class_names)
    elif all(name.removeprefix("-").isdecimal() for name in names):
        names = names[np.argsort([int(name) for name in names])]
    number = {name: place for place, name in enumerate(names.tolist())}
    numbered = {}
    for part, values in words.items():
        found, place = np.unique(values, return_inverse=True)
        numbered[part] = np.array([number[name] for name in found.tolist()], np.int32)[place]
    return tuple(number), numbered
