"""Image files decoded to one array of bytes: every file once, on all cores, kept on disk."""

import hashlib
import io
import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
import platformdirs
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mlpjax.data.entries import Entries, Read, UnreadableError
from mlpjax.errors import UserError
from mlpjax.plumbing.files import write_atomically
from mlpjax.plumbing.progress import progress_bar

GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
"""Modes that are decoded, as Pillow names them."""
USUAL_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
"""Those that are tried first, as Pillow does until it has heard of others; all of them take as long as a small JPEG."""
LARGEST_IMAGE = 2**26
"""Pixels; below where Pillow warns of decompression bombs."""
TOO_LARGE = f"has more than {LARGEST_IMAGE:,} pixels"
GAP = 3.0
"""How many times as large as asked for an image is at least, when it is resized in earnest: of a larger one pixels are
averaged first, and a JPEG is decoded at an eighth, a quarter or half of its size in the first place."""
UPRIGHT, LYING = 1, (5, 6, 7, 8)
"""Orientations of EXIF: as it is, and those whose rows are columns of the picture."""
BLOCK = 64
"""Files that a core decodes at a time."""
VERSION = 2
"""Of what is kept on disk; another one when files are decoded in another way."""

Size: TypeAlias = tuple[int, int]
"""(height, width), in pixels."""


class Decoded(NamedTuple):
    """One image."""

    pixels: UInt8[np.ndarray, "height width"] | UInt8[np.ndarray, "height width 3"]
    mode: str
    """Of the file."""
    size: Size
    """Of the file, standing upright."""


class Images(NamedTuple):
    """What became of many files."""

    pixels: UInt8[np.ndarray, "n *shape"]
    """[n, height, width] where all are grey, else [n, height, width, 3]; read from the disk where it is used."""
    kept: list[int]
    """Where each stands among the files that were asked for."""
    bad: dict[str, str]
    """What is wrong with each of the files that were left out, by name."""
    modes: dict[str, int]
    """How many have each mode."""
    sizes: dict[str, int]
    """How many had each size, as "height x width", before they were resized."""


def decode(content: bytes, size: Size | None = None) -> Decoded:
    """Decode one image file, in any format that Pillow reads.

    It stands upright, as its EXIF tag says. Resized, it fills the whole size, whatever its proportions were; of a large
    JPEG only the low frequencies are decoded, which pixels of the result hardly show (`GAP`).

    Args:
        content: of the file.
        size: of the result; None: the file's own.

    Returns:
        The image, grey or in red, green and blue.

    Raises:
        UnreadableError: it is no image, truncated, animated, with more than 8 bits a channel, partly transparent, or
            larger than `LARGEST_IMAGE`.
    """
    try:
        with _open(content) as image:
            return _upright(image, size)
    except UnreadableError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableError(TOO_LARGE) from None
    except UnidentifiedImageError:
        raise UnreadableError("is no image that Pillow can read") from None
    # Whatever decoders raise for broken files: there is no list of it.
    except Exception as error:
        raise UnreadableError(f"cannot be decoded ({' '.join(str(error).split())[:150]})") from None


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=USUAL_FORMATS)
    except UnidentifiedImageError:
        return Image.open(io.BytesIO(content))


def _upright(image: Image.Image, size: Size | None) -> Decoded:
    if image.width * image.height > LARGEST_IMAGE:
        raise UnreadableError(TOO_LARGE)
    if getattr(image, "n_frames", 1) > 1:
        raise UnreadableError("is animated: save one of its frames as an image")
    if image.mode not in (*GREY, *COLOUR):
        raise UnreadableError(f"has not 8 bits a channel (mode {image.mode}): convert it")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise UnreadableError("is partly transparent: save it on a background")
    mode, wanted = image.mode, "L" if image.mode in GREY else "RGB"
    of_file = (image.height, image.width)
    orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    if orientation in LYING:
        of_file = of_file[::-1]
    if size:
        image.draft(mode, (math.ceil(GAP * max(size)),) * 2)
    if orientation != UPRIGHT:
        ImageOps.exif_transpose(image, in_place=True)
    upright = image if image.mode == wanted else image.convert(wanted)  # which would copy it
    if size and size != of_file:
        upright = upright.resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=GAP)
    return Decoded(np.asarray(upright), mode, of_file)


def read_images(entries: Entries, names: Sequence[str], size: Size | None, skip_bad: bool) -> Images:
    """Decode files once, on all cores; the next time they are read from the user's cache folder.

    They are decoded again when the size or the time of one of them has changed, or what is asked for.

    Args:
        entries: where they are.
        names: of the files there.
        size: of all images; None: they must have one size.
        skip_bad: leave out what cannot be used, in place of refusing all.

    Returns:
        The images.

    Raises:
        UserError: a file cannot be used, or has another size than the first, and `skip_bad` is off; none is left.
    """
    asked = [VERSION, entries.stamp(names), list(names), size, skip_bad]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
    folder = Path(platformdirs.user_cache_dir("mlpjax")) / "images"
    path, facts = folder / f"{digest}.pixels", folder / f"{digest}.json"
    if not (path.is_file() and facts.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = {}
        with progress_bar("decoding", "images") as on_progress:
            write_atomically(
                path, lambda file: found.update(_decode_into(file, entries, names, size, skip_bad, on_progress))
            )
        if not set(found["modes"]) - set(GREY):
            colours = np.memmap(path, np.uint8, "r", shape=tuple(found["shape"]))
            found["shape"].pop()
            write_atomically(path, lambda file: file.writelines(row[..., 0].tobytes() for row in colours))
        write_atomically(facts, lambda file: file.write(json.dumps(found).encode()))
    found = json.loads(facts.read_bytes())
    shape = tuple(found.pop("shape"))
    return Images(np.memmap(path, np.uint8, "r", shape=shape), **found)


def _decode_into(
    file: BinaryIO,
    entries: Entries,
    names: Sequence[str],
    size: Size | None,
    skip_bad: bool,
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Write red, green and blue of all images to a file; return the shape of that, and what else `Images` says."""
    blocks = [names[start : start + BLOCK] for start in range(0, len(names), BLOCK)]
    kept: list[int] = []
    bad: dict[str, str] = {}
    modes: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    # Threads suffice: Pillow decodes without the interpreter's lock.
    with warnings.catch_warnings(), entries.reading() as read, ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        work = pool.map(partial(_decode_block, read, size), blocks)
        for start, block in zip(range(0, len(names), BLOCK), work, strict=True):
            rows = []
            for row, image in enumerate(block, start):
                if isinstance(image, str):
                    bad[names[row]] = image
                elif image.pixels.shape[:2] != (size := size or image.size):
                    own, first = ("{} x {}".format(*of) for of in (image.size, size))
                    bad[names[row]] = (
                        f"has {own} pixels where the first image has {first}: give all a size (image_size)"
                    )
                else:
                    pixels = image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[..., None], 3, axis=-1)
                    rows.append(pixels.data)
                    kept.append(row)
                    modes[image.mode] += 1
                    sizes["{} x {}".format(*image.size)] += 1
            file.write(b"".join(rows))  # at once: after each write threads that decode have to be waited for
            on_progress(start + len(block), len(names))
            if bad and not skip_bad:
                name, reason = next(iter(bad.items()))
                pool.shutdown(cancel_futures=True)
                raise UserError(f"{entries.where}: {name} {reason}; or leave such files out (skip_bad)")
    if not kept:
        name = names[0]
        raise UserError(f"{entries.where}: none of its {len(names):,} images can be used; {name} {bad[name]}")
    assert size is not None
    return {"kept": kept, "bad": bad, "modes": modes, "sizes": sizes, "shape": [len(kept), *size, 3]}


def _decode_block(read: Read, size: Size | None, names: Sequence[str]) -> list[Decoded | str]:
    """Images, or what is wrong with a file."""

    def one(name: str) -> Decoded | str:
        try:
            return decode(read(name), size)
        except UnreadableError as error:
            return str(error)

    return [one(name) for name in names]
