"""Images in a folder or an archive, with their class in the name of a folder or of the file."""

import itertools
import re
from pathlib import Path, PurePosixPath

from PIL import Image

from mlpjax.data.dataset import Dataset
from mlpjax.data.entries import list_files
from mlpjax.data.files import PARTS, Files, Labelled, read_labelled, some
from mlpjax.errors import UserError

LETTERS = r"^([^\W\d_]+)"
"""What a file's name starts with: cat of cat.12.jpg."""


def read_folder(source: str | Path, files: Files = Files()) -> Dataset:
    """Pictures of one's own: one folder a class, within one folder a split where there are splits.

    Where no image lies in a folder of its own, its class is read from its name. Files that are no images by the end of
    their name are left out, which is noted.

    Args:
        source: a folder, or a zip or tar archive, which is not unpacked.
        files: how to read them.

    Returns:
        uint8 pixels, grey where all images are.

    Raises:
        UserError: no images, a name that gives no class, and what `list_files` and `read_labelled` refuse.
    """
    source = Path(source).expanduser()
    names = list_files(source)
    ends = tuple(end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN)
    images = [name for name in names if name.lower().endswith(ends)]
    if not images:
        raise UserError(f"{source}: there are no images in it")
    others = [name for name in names if not name.lower().endswith(ends)]
    folders = {name: name.split("/")[:-1] for name in images}
    levels = zip(*folders.values(), strict=False)
    outer = len([*itertools.takewhile(lambda level: len({*level}) == 1, levels)])
    folders = {name: parts[outer:] for name, parts in folders.items()}
    in_parts = all(parts and parts[0].lower() in PARTS for parts in folders.values())
    labelled = []
    for name, parts in folders.items():
        part, *inner = (PARTS[parts[0].lower()], *parts[1:]) if in_parts else ("train", *parts)
        labelled.append(Labelled(name, _label(source, name, inner, files.label_pattern), part))
    return read_labelled(f"folder:{source}", source, labelled, files, some("are no images and left out", others))


def _label(source: Path, name: str, folders: list[str], pattern: str) -> str:
    if folders and not pattern:
        return folders[0]
    found = re.search(pattern or LETTERS, PurePosixPath(name).name)
    if not found or not found[1]:
        looked_for = f"does not match label_pattern {pattern!r}" if pattern else "does not start with its class"
        raise UserError(f"{source}: the name of {name} {looked_for}, and it is in no folder of a class; rename it")
    return found[1]
