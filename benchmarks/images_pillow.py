"""Pillow decoding the same files in a bare pool, and doing nothing with them; imported by processes of their own."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from PIL import Image

BLOCK = 64
"""Files that a thread decodes at a time."""


def start() -> None:
    """Make this process a worker: one that has loaded what decodes JPEGs."""
    Image.preinit()


def decode(size: tuple[int, int], paths: Sequence[str]) -> None:
    """Decode files to arrays of one size, width and height, as a user of Pillow would who knows that they are JPEGs."""
    for path in paths:
        with Image.open(path, formats=("JPEG",)) as image:
            fits = image.size == size
            image.draft(image.mode, (3 * max(size), 3 * max(size)))
            resized = image if fits else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
            np.asarray(resized)


def seconds(paths: Sequence[str], size: tuple[int, int], threads: int) -> float:
    """What that takes in so many threads of this process."""
    with ThreadPoolExecutor(threads) as pool:
        blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
        begin = time.perf_counter()
        for _ in pool.map(partial(decode, size), blocks):
            pass
        return time.perf_counter() - begin
