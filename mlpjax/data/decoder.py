"""The small process on each core that decodes image files, as one interpreter runs Python on one core alone.

`images.py` starts it as a program of its own, with the size that all images get, and this is what they say to each
other, block after block of files:

    it is told    "/home/me/cat.jpg" or 5021, as JSON in a line: a file, or how many bytes of one follow; so for each of
                  them; then an empty line
    it answers    a line of JSON, [["RGB", 480, 640], "is animated"]: of each file the mode, height and width, or what
                  is wrong; then red, green and blue of all pixels of those that are well

It ends when its standard input does. It imports Pillow alone, and so is there in less than a tenth of a second.
"""

import io
import json
import math
import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple, TypeAlias

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

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

Size: TypeAlias = tuple[int, int]
"""(height, width), in pixels."""


class UndecodableError(Exception):
    """One file that cannot be used; the message says why, and the mend."""


class Decoded(NamedTuple):
    """One image."""

    pixels: bytes
    """Red, green and blue of each, row by row."""
    mode: str
    """Of the file."""
    size: Size
    """Of the file, standing upright."""


def decode(file: io.BytesIO | io.BufferedReader, size: Size | None = None) -> Decoded:
    """Decode one image file, in any format that Pillow reads.

    It stands upright, as its EXIF tag says. Resized, it fills the whole size, whatever its proportions were; of a large
    JPEG only the low frequencies are decoded, which pixels of the result hardly show (`GAP`).

    Args:
        file: open at its start.
        size: of the result; None: the file's own.

    Returns:
        The image; where it is grey, red, green and blue are the same.

    Raises:
        UndecodableError: it is no image, truncated, animated, with more than 8 bits a channel, partly transparent, or
            larger than `LARGEST_IMAGE`.
    """
    try:
        with _open(file) as image:
            return _upright(image, size)
    except UndecodableError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UndecodableError(TOO_LARGE) from None
    except UnidentifiedImageError:
        raise UndecodableError("is no image that Pillow can read") from None
    # Whatever decoders raise for broken files: there is no list of it.
    except Exception as error:
        raise UndecodableError(f"cannot be decoded ({' '.join(str(error).split())[:150]})") from None


def _open(file: io.BytesIO | io.BufferedReader) -> Image.Image:
    try:
        return Image.open(file, formats=USUAL_FORMATS)
    except UnidentifiedImageError:
        return Image.open(file)


def _upright(image: Image.Image, size: Size | None) -> Decoded:
    if image.width * image.height > LARGEST_IMAGE:
        raise UndecodableError(TOO_LARGE)
    if getattr(image, "n_frames", 1) > 1:
        raise UndecodableError("is animated: save one of its frames as an image")
    if image.mode not in (*GREY, *COLOUR):
        raise UndecodableError(f"has not 8 bits a channel (mode {image.mode}): convert it")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise UndecodableError("is partly transparent: save it on a background")
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
    return Decoded((upright if wanted == "RGB" else upright.convert("RGB")).tobytes(), mode, of_file)


def main() -> None:
    """Answer until nothing more is asked."""
    size = (int(sys.argv[1]), int(sys.argv[2])) if sys.argv[1:] else None
    told: list[object] = []
    pixels = io.BytesIO()  # one piece of memory for all blocks: pixels kept apart would scatter what Pillow works in
    while line := sys.stdin.buffer.readline():
        if line.strip():
            try:
                with _file(json.loads(line)) as file:
                    image = decode(file, size)
            except UndecodableError as error:
                told.append(str(error))
            else:
                told.append([image.mode, *image.size])
                pixels.write(image.pixels)
        else:
            sys.stdout.buffer.write(b"%s\n" % json.dumps(told).encode())
            sys.stdout.buffer.write(pixels.getbuffer()[: pixels.tell()])
            sys.stdout.buffer.flush()
            told.clear()
            pixels.seek(0)


def _file(asked: str | int) -> io.BytesIO | io.BufferedReader:
    if isinstance(asked, int):
        return io.BytesIO(sys.stdin.buffer.read(asked))
    try:
        return Path(asked).open("rb")
    except OSError as error:
        raise UndecodableError(f"cannot be read ({error})") from None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        main()
    except BrokenPipeError:  # nobody is there to listen
        os._exit(1)
