"""The alternative to reading one's own pictures, as PyTorch's users write it; imported by a process of its own."""

import time
from typing import Any

from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Resize, ToTensor

_worker: dict[str, Any] = {}


def start(folder: str, size: tuple[int, int], batch_size: int) -> None:
    """Make this process a worker on a folder with one folder a class, for images of one height and width."""
    _worker.update(folder=folder, size=size, batch_size=batch_size)


def two_epochs(processes: int) -> list[float]:
    """Read all pictures in shuffled minibatches, and again: the seconds of each epoch.

    So many processes decode, and are kept from one epoch to the next; with 0 this one does.
    """
    begin = time.perf_counter()
    pictures = ImageFolder(_worker["folder"], Compose([Resize(_worker["size"]), ToTensor()]))
    loader = DataLoader(
        pictures, _worker["batch_size"], shuffle=True, num_workers=processes, persistent_workers=processes > 0
    )
    taken = []
    for _ in range(2):
        for _ in loader:
            pass
        end = time.perf_counter()
        taken.append(end - begin)
        begin = end
    return taken
