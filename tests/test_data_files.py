"""Files of one's own: written by a few lines here, read back; every way they can be wrong is refused in one line."""

import io
import os
import re
import signal
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlpjax.data import Dataset, Files, check, decoder, entries, images, load
from mlpjax.data.decoder import Decoded, Size, UndecodableError
from mlpjax.errors import UserError

GREY = np.arange(60, dtype=np.uint8).reshape(6, 10)
COLOUR = np.arange(180, dtype=np.uint8).reshape(6, 10, 3)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of each test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(folder))
    return folder


def picture(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def numbered(number: int) -> bytes:
    """A grey image that holds its number."""
    return picture(np.full((6, 10), number, np.uint8))


def write(folder: Path, content: dict[str, bytes]) -> Path:
    for name, raw in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def pack(path: Path, content: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, raw in content.items():
                archive.writestr(name, raw)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, raw in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def pets(parts: tuple[str, ...] = ("",), each: int = 10) -> dict[str, bytes]:
    """A few images of cats, dogs and yaks; those of a part hold numbers of its own."""
    kinds = ("yak", "cat", "dog")
    return {
        f"{part}{kind}/{k}.png": numbered(80 * p + 25 * c + k)
        for p, part in enumerate(parts)
        for c, kind in enumerate(kinds)
        for k in range(each)
    }


def refused(spec: str, message: str, **options: Any) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(spec, files=Files(**options))
    assert "\n" not in str(caught.value)


def same(one: Dataset, other: Dataset) -> None:
    for part in ("train", "valid", "test"):
        for a, b in zip(getattr(one, part), getattr(other, part), strict=True):
            np.testing.assert_array_equal(a, b)


# Folders and archives


def test_a_folder_a_class_in_splits_or_without(tmp_path: Path) -> None:
    whole = load(f"folder:{write(tmp_path / 'whole', pets())}")
    assert whole.class_names == ("cat", "dog", "yak")
    assert [len(split.y) for split in (whole.train, whole.valid, whole.test)] == [22, 4, 4]
    assert {*np.bincount(whole.test.y)} == {1, 2}
    assert sorted(np.concatenate([s.x[:, 0, 0] for s in (whole.train, whole.valid, whole.test)])) == sorted(
        [*range(10), *range(25, 35), *range(50, 60)]
    )
    for split in (whole.train, whole.valid, whole.test):
        np.testing.assert_array_equal(split.y, np.array([2, 0, 1])[split.x[:, 0, 0] // 25])
    parted = load(f"folder:{write(tmp_path / 'parted', pets(('Train/', 'test/')))}", files=Files(valid_share=0))
    assert [len(split.y) for split in (parted.train, parted.valid, parted.test)] == [30, 0, 30]
    assert parted.test.x.min() == 80
    assert check(parted).notes == ()


def test_a_missing_folder_shifts_no_class(tmp_path: Path) -> None:
    content = {name: raw for name, raw in pets(("train/", "test/")).items() if not name.startswith("test/cat")}
    found = load(f"folder:{write(tmp_path, content)}")
    np.testing.assert_array_equal(np.unique(found.test.y), [1, 2])
    assert "test has no rows of class 0: add some, or leave the class out" in check(found).notes
    named = load(f"folder:{tmp_path}", files=Files(class_names=("yak", "dog", "cat")))
    np.testing.assert_array_equal(named.test.y, np.where(found.test.y == 2, 0, 1))


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar", "pets.tar.gz"])
def test_an_archive_reads_as_its_folder_does(tmp_path: Path, name: str) -> None:
    content = {f"outer/{file}": raw for file, raw in pets(("train/", "valid/", "test/")).items()}
    folder = load(f"folder:{write(tmp_path / 'folder', content | {'outer/train/.DS_Store': b''})}")
    archive = load(f"folder:{pack(tmp_path / name, content | {'__MACOSX/outer/train/._0.png': b'x'})}")
    same(folder, archive)
    assert len(list(tmp_path.iterdir())) == 2


def test_classes_stand_in_names_of_files(tmp_path: Path) -> None:
    content = {f"{kind}.{k}.png": numbered(10 * c + k) for c, kind in enumerate(("cat", "dog")) for k in range(6)}
    found = load(f"folder:{write(tmp_path, content)}")
    assert found.class_names == ("cat", "dog")
    np.testing.assert_array_equal(found.train.y, found.train.x[:, 0, 0] // 10)
    by_number = load(f"folder:{tmp_path}", files=Files(label_pattern=r"\.(\d)\."))
    assert by_number.classes == 6
    assert by_number.class_names == ()
    np.testing.assert_array_equal(by_number.train.y, by_number.train.x[:, 0, 0] % 10)
    refused(f"folder:{tmp_path}", r"cat.0.png does not match label_pattern", label_pattern=r"(horse)")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../cat/1.png", "leads out of the archive"),
        ("/cat/1.png", "leads out of the archive"),
        ("cat/../../1.png", "leads out of the archive"),
        ("cat/more.tar.gz", "archive inside the archive"),
    ],
)
def test_archives_that_lead_out_or_hold_another(tmp_path: Path, kind: str, name: str, message: str) -> None:
    refused(f"folder:{pack(tmp_path / f'a.{kind}', pets() | {name: numbered(1)})}", message)


def test_links(tmp_path: Path) -> None:
    write(tmp_path / "in", pets())
    write(tmp_path, {"secret.png": numbered(9)})
    (tmp_path / "in/cat/a.png").symlink_to(tmp_path / "in/cat/0.png")
    assert load(f"folder:{tmp_path / 'in'}").train.x.max() < 100
    (tmp_path / "in/cat/b.png").symlink_to(tmp_path / "secret.png")
    refused(f"folder:{tmp_path / 'in'}", r"b.png is a link that leads out")
    (tmp_path / "in/cat/b.png").unlink()
    (tmp_path / "in/cat/b.png").symlink_to(tmp_path / "in/cat/c.png")
    (tmp_path / "in/cat/c.png").symlink_to(tmp_path / "in/cat/b.png")
    refused(f"folder:{tmp_path / 'in'}", r"in cannot be listed \(.*/[bc].png")
    (tmp_path / "in/cat/b.png").unlink()
    (tmp_path / "in/cat/c.png").unlink()
    (tmp_path / "in/cat/loop").symlink_to(tmp_path / "in")
    refused(f"folder:{tmp_path / 'in'}", r"loop is a link to a folder and not followed")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("cat/1.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    refused(f"folder:{tmp_path / 'a.tar'}", "cat/1.png is a link or a device")


def test_what_is_no_image_is_noted_or_refused(tmp_path: Path) -> None:
    write(tmp_path, pets() | {"notes.txt": b"mine", "cat/labels.csv": b"1,2"})
    notes = check(load(f"folder:{tmp_path}")).notes
    assert "2 files are no images and left out: cat/labels.csv; notes.txt" in notes
    refused(f"folder:{tmp_path}", "no image is of class emu", class_names=("cat", "dog", "emu", "yak"))
    refused(f"folder:{tmp_path}", "yak is none of the classes cat, dog", class_names=("cat", "dog"))
    refused(f"folder:{write(tmp_path / 'empty', {'a.txt': b''})}", "there are no images in it")
    refused(f"folder:{tmp_path / 'none'}", "no such folder or archive")
    refused(f"folder:{tmp_path / 'notes.txt'}", "no whole zip or tar archive")
    refused(f"folder:{write(tmp_path / 'bare', {'1.png': numbered(1)})}", "does not start with its class")


@pytest.mark.parametrize("name", ["", "a.zip", "a.tar"])
@pytest.mark.parametrize("piece", [5, 1000, 1001])
def test_files_are_read_whole_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, piece: int
) -> None:
    content = {"long": bytes(range(250)) * 4, "short": b"abc"}
    source = pack(tmp_path / name, content) if name else write(tmp_path, content)
    monkeypatch.setattr(entries, "PIECE", piece)
    monkeypatch.setattr(entries, "LARGEST", 1000)
    with entries.reading(source) as read:

        def content_of(name: str) -> bytes:
            found = read(name)
            return found.read_bytes() if isinstance(found, Path) else found

        assert {file: content_of(file) for file in content} == content
        monkeypatch.setattr(entries, "LARGEST", 999)
        assert content_of("short") == b"abc"
        with pytest.raises(entries.UnreadableError, match="has more than 999 bytes"):
            read("long")


# Images


def decode(content: bytes, size: Size | None = None) -> tuple[np.ndarray, Decoded]:
    """Pixels as [height, width, 3], and all that is told."""
    found = decoder.decode(io.BytesIO(content), size)
    return np.frombuffer(found.pixels, np.uint8).reshape(*(size or found.size), 3), found


def in_colour(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels


def test_decoded_as_pillow_does() -> None:
    for pixels in (GREY, COLOUR):
        np.testing.assert_array_equal(decode(picture(pixels))[0], in_colour(pixels))
        found, told = decode(picture(pixels, "JPEG"))
        assert np.abs(found.astype(int) - in_colour(pixels)).mean() < 12
        assert (told.size, told.mode) == ((6, 10), "L" if pixels is GREY else "RGB")
    small, _ = decode(picture(np.repeat(np.repeat(GREY, 4, 0), 4, 1)), (6, 10))
    assert np.abs(small.astype(int) - in_colour(GREY)).max() <= 3
    palette = io.BytesIO()
    Image.fromarray(COLOUR).quantize(256).save(palette, "PNG")
    assert np.abs(decode(palette.getvalue())[0].astype(int) - COLOUR).mean() < 8
    np.testing.assert_array_equal(decode(picture(GREY > 30))[0], in_colour(np.where(GREY > 30, 255, 0)))


@pytest.mark.parametrize(("turn", "wanted"), [(1, (480, 640)), (6, (640, 480))])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(turn: int, wanted: tuple[int, int]) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turn
    photo = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=95, exif=exif)
    found, told = decode(file.getvalue(), (24, 32))
    assert told.size == wanted
    upright = photo if turn == 1 else photo.transpose(Image.Transpose.ROTATE_270)
    exact = np.asarray(upright.resize((32, 24), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(found - exact).max() <= 12
    assert np.abs(found - exact).mean() < 2


@pytest.mark.parametrize("turn", range(1, 9))
def test_stands_upright_as_its_exif_tag_says(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    found, told = decode(picture(COLOUR, "PNG", exif=exif))
    # The tag says where row 0 and column 0 are to be seen (EXIF 2.3, orientation).
    moved = {1: COLOUR, 2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 4: COLOUR[::-1]}
    moved |= {k + 4: np.swapaxes(moved[j], 0, 1) for k, j in ((1, 1), (2, 4), (3, 3), (4, 2))}
    np.testing.assert_array_equal(found, moved[turn])
    assert told.size == moved[turn].shape[:2]


def animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(np.roll(GREY, k)) for k in range(3)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


BAD = {
    "truncated": (picture(COLOUR, "JPEG")[:-300], "cannot be decoded .*[Tt]runcated"),
    "no image": (b"a few words", "is no image that Pillow can read"),
    "empty": (b"", "is no image that Pillow can read"),
    "animated": (animated(), "is animated"),
    "16 bits": (picture(GREY.astype(np.uint16) * 200), "has not 8 bits a channel"),
    "transparent": (picture(np.dstack([COLOUR, GREY])), "is partly transparent"),
    "another size": (picture(GREY[:5]), "has 5 x 10 pixels where the first image has 6 x 10"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_images_are_refused_by_name_or_left_out_by_name(tmp_path: Path, kind: str) -> None:
    content, reason = BAD[kind]
    write(tmp_path, pets() | {"cat/bad.png": content})
    refused(f"folder:{tmp_path}", rf"cat/bad.png {reason}.*\(skip_bad\)")
    found = load(f"folder:{tmp_path}", files=Files(skip_bad=True))
    assert sum(len(split.y) for split in (found.train, found.valid, found.test)) == 30
    (note,) = check(found).notes
    assert re.search(f"1 files cannot be used and left out: cat/bad.png {reason}", note)


def test_images_of_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "LARGEST_IMAGE", 59)
    with pytest.raises(UndecodableError, match="has more than"):
        decode(picture(GREY))
    monkeypatch.setattr(decoder, "LARGEST_IMAGE", 60)
    decode(picture(GREY))


def test_sizes_and_modes_are_made_one_and_noted(tmp_path: Path) -> None:
    write(tmp_path, pets() | {"cat/big.png": picture(np.repeat(COLOUR, 2, axis=0))})
    found = load(f"folder:{tmp_path}", files=Files(image_size=(3, 5)))
    assert found.image_shape == (3, 5, 3)
    assert check(found).notes == (
        "sizes differed before they were made one: 6 x 10 (30), 12 x 10 (1)",
        "modes of the files: L (30), RGB (1)",
    )


def test_decoded_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, pets())
    first = load(f"folder:{tmp_path}")
    seen: list[str] = []
    started: list[Popen[bytes]] = []
    decode_block = images._decode_block

    def start(*arguments: Any, **options: Any) -> Popen[bytes]:
        started.append(Popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(images, "Popen", start)
    monkeypatch.setattr(images, "_decode_block", lambda *asked: seen.extend(asked[-1]) or decode_block(*asked))
    same(load(f"folder:{tmp_path}"), first)
    assert not seen
    assert not started
    write(tmp_path, {"cat/3.png": numbered(250)})
    changed = load(f"folder:{tmp_path}")
    assert len(seen) == 30
    assert [process.returncode for process in started] == [-signal.SIGKILL]  # one block of files, one process, no more
    assert 250 in np.concatenate([split.x[:, 0, 0] for split in (changed.train, changed.valid, changed.test)])


@pytest.mark.parametrize("size", [None, (4, 5)])
@pytest.mark.parametrize("name", ["folder", "archive.zip"])
def test_many_processes_decode_as_one_function_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: Size | None
) -> None:
    monkeypatch.setattr(images, "BLOCK", 7)
    monkeypatch.setattr(images, "core_count", lambda: 3)
    monkeypatch.setattr(entries, "LARGEST", 1000)
    content = {f"{k:02}": picture(COLOUR + np.uint8(k), "PNG" if k % 2 else "JPEG") for k in range(50)}
    broken = {"07": b"no image", "13": b"", "14": bytes(1001), "49": picture(COLOUR)[:50]}
    source = (write if name == "folder" else pack)(tmp_path / name, content | broken)
    if name == "folder":
        (source / "14").unlink()
    found = images.read_images(entries.entries_in(source), [*content], size, skip_bad=True)
    good = [name for name in content if name not in broken]
    np.testing.assert_array_equal(found.pixels, [decode(content[name], size)[0] for name in good])
    assert found.kept == [int(name) for name in good]
    assert list(found.bad) == list(broken)
    reason = r"cannot be read \(.*No such file.*14" if name == "folder" else "has more than 1,000 bytes"
    assert re.match(reason, found.bad["14"])
    assert (found.modes, found.sizes) == ({"RGB": 46}, {"6 x 10": 46})


@pytest.mark.parametrize(
    "program", ["", "print('half a li', end='')", "print('[[\"L\", 6, 10]]\\npixels')"], ids=["none", "line", "pixels"]
)
def test_a_process_that_ends_is_told_in_a_line(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(f"import sys\nsys.stdin.buffer.readline()\n{program}\nsys.exit(3)\n")
    monkeypatch.setattr(decoder, "__file__", str(broken))
    write(tmp_path / "pets", pets())
    refused(f"folder:{tmp_path / 'pets'}", r"one of cat/0.png to yak/9.png ended the process .*\(exit code 3\)")
    assert not list((cache / "images").iterdir())


def test_decoding_can_be_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = tmp_path / "idle.py"
    idle.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(decoder, "__file__", str(idle))
    monkeypatch.setattr(images, "BLOCK", 1)
    write(tmp_path / "pets", pets())
    began = time.monotonic()
    threading.Timer(1, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        load(f"folder:{tmp_path / 'pets'}")
    assert time.monotonic() - began < 60  # where the process decodes on, it takes ten minutes


def test_a_thousand_broken_files_end_in_a_line_each() -> None:
    rng = np.random.default_rng(0)
    whole = [picture(COLOUR, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]
    whole += [picture(GREY, kind) for kind in ("PNG", "JPEG", "ICO")]
    counts = {"decoded": 0, "refused": 0}
    for k in range(1000):
        content = bytearray(whole[k % len(whole)])
        for _ in range(rng.integers(1, 6)):
            place = rng.integers(len(content))
            if rng.random() < 0.2:
                del content[place : place + rng.integers(1, 40)]
            else:
                content[place % max(len(content), 1)] = rng.integers(256)
            content = content or bytearray(b"\0")
        try:
            found, _ = decode(bytes(content), (6, 10))
            assert found.shape[:2] == (6, 10)
            counts["decoded"] += 1
        except UndecodableError as error:
            assert "\n" not in str(error)
            counts["refused"] += 1
    assert min(counts.values()) > 100, counts


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_broken_archives_end_in_a_line(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(1)
    whole = pack(tmp_path / f"a.{kind}", pets(each=3)).read_bytes()
    refusals = 0
    for k in range(40):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=5):
            content[place] = rng.integers(256)
        path = tmp_path / f"{k}.{kind}"
        path.write_bytes(content[: rng.integers(len(content))] if k % 3 == 0 else content)
        try:
            load(f"folder:{path}", files=Files(skip_bad=True, image_size=(6, 10)))
        except UserError as error:
            assert "\n" not in str(error)
            refusals += 1
    assert refusals > 5


# Tables


def table(path: Path, *lines: str, encoding: str = "utf-8") -> str:
    path.write_bytes("\n".join(lines).encode(encoding))
    return f"csv:{path}"


NUMBERS = ["a,b,kind", *(f"{k},{k / 2},{'odd' if k % 2 else 'even'}" for k in range(20))]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_table_of_numbers(tmp_path: Path, separator: str) -> None:
    found = load(
        table(tmp_path / "t.csv", *(line.replace(",", separator) for line in NUMBERS), "", encoding="utf-8-sig")
    )
    assert found.class_names == ("even", "odd")
    assert (len(found.train.y), len(found.valid.y), len(found.test.y)) == (14, 3, 3)
    np.testing.assert_array_equal(found.train.x[:, 1], found.train.x[:, 0] / 2)
    np.testing.assert_array_equal(found.train.y, found.train.x[:, 0] % 2)
    other = Files(label_column="a", valid_share=0, test_share=0.5)
    assert load(table(tmp_path / "u.csv", *(line[:-1] + "1" for line in NUMBERS[1:])), files=Files()).features == 2
    with pytest.raises(UserError, match="'kind' is 'even', which is no number"):
        load(f"csv:{tmp_path / 't.csv'}", files=other)


def test_a_table_of_numbers_for_a_regression(tmp_path: Path) -> None:
    spec = table(tmp_path / "t.csv", "x,target", *(f"{k},{k / 4}" for k in range(20)))
    refused(spec, r"line 3: 'target' is 0.25, which is no class; for targets that are numbers set regression")
    found = load(spec, files=Files(regression=True))
    assert found.classes is None
    np.testing.assert_allclose(found.test.y, found.test.x / 4)


def test_a_table_for_each_split_or_a_column_of_it(tmp_path: Path) -> None:
    for part, first in (("train", 0), ("val", 20), ("test", 40)):
        table(tmp_path / f"my_{part}.csv", "x,label", *(f"{k},{k % 2}" for k in range(first, first + 20)))
    parted = load(f"csv:{tmp_path}")
    assert [split.x.min() for split in (parted.train, parted.valid, parted.test)] == [0, 20, 40]
    parts = ("train", "validation", "test")
    rows = (f"{k},{k % 2},{parts[k // 20]}" for k in range(60))
    same(load(table(tmp_path / "all.csv", "x,label,split", *rows)), parted)
    table(tmp_path / "train.csv", "x,label", "1,1")
    refused(f"csv:{tmp_path}", "both my_train.csv and train.csv are train")
    (tmp_path / "train.csv").unlink()
    table(tmp_path / "my_test.csv", "y,label", "1,1")
    refused(f"csv:{tmp_path}", "test has other columns than train")


@pytest.mark.parametrize(
    ("lines", "message", "options"),
    [
        (NUMBERS, "unknown label_column 'sort'.*choose from a, b, kind", {"label_column": "sort"}),
        (NUMBERS, "unknown file_column 'image'", {"file_column": "image"}),
        ([*NUMBERS, "1,x,odd"], "line 22: 'b' is 'x', which is no number", {}),
        ([*NUMBERS, "1,,odd"], "feature 1 is nan", {}),
        ([*NUMBERS, "1,2,"], "line 22: nothing in column 'kind'", {}),
        ([*NUMBERS, "1,2,odd,4"], "line 22", {}),
        ([NUMBERS[0]], "has no rows", {}),
        ([""], "has one column", {}),
        (["a", "1"], "has one column", {}),
        (["a,a,b", "1,2,3"], "two columns are called 'a'", {}),
        (["a,b,split", "1,0,train", "2,1,best"], "line 3: split is 'best'; want train, valid or test", {}),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, lines: list[str], message: str, options: dict[str, Any]) -> None:
    refused(table(tmp_path / "t.csv", *lines), message, **options)


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    refused(table(tmp_path / "t.csv", *NUMBERS, "1,2,ungerade ü", encoding="latin-1"), "is not UTF-8")
    refused(table(tmp_path / "u.csv", *NUMBERS, encoding="utf-16"), "is not UTF-8")
    refused(f"csv:{tmp_path / 'none.csv'}", "no such file")
    refused(f"csv:{write(tmp_path / 'empty', {'a': b''})}", "no CSV in it has train in its name")


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A table of images beside a folder of its name."""
    write(tmp_path / "digits", {f"{k}.png": numbered(k) for k in range(20)})
    table(tmp_path / "digits.csv", "Class Label,File Name", *(f"{k % 2 + 5},{k}.png" for k in range(20)))
    return tmp_path / "digits.csv"


def test_a_table_of_images(named: Path, tmp_path: Path) -> None:
    found = load(f"csv:{named}")
    assert found.class_names == ("5", "6")
    np.testing.assert_array_equal(found.train.y, found.train.x[:, 0, 0] % 2)
    named.write_text(named.read_text().replace("File Name", "which").replace("Class Label", "sort"))
    same(load(f"csv:{named}", files=Files(file_column="which", label_column="sort")), found)
    packed = pack(tmp_path / "elsewhere.zip", {f"{k}.png": numbered(k) for k in range(20)})
    options: dict[str, Any] = {"file_column": "which", "label_column": "sort"}
    same(load(f"csv:{named}", files=Files(image_folder=str(packed), **options)), found)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("5,99.png", "1 images are not in .*, first digits/99.png, of .*digits.csv, line 22"),
        ("5,../digits.png", "line 22: '../digits.png' is no name of an image within"),
        ("5,/etc/passwd", "line 22: '/etc/passwd' is no name of an image within"),
        ("5,3.png", "line 22: 3.png stands there already, in .*digits.csv, line 5"),
        ("5,", "line 22: nan is no name of an image within"),
    ],
)
def test_lines_that_name_no_image(named: Path, line: str, message: str) -> None:
    with named.open("a") as file:
        file.write(f"\n{line}")
    refused(f"csv:{named}", message)


def test_images_that_are_absent_are_left_out_on_request(named: Path) -> None:
    with named.open("a") as file:
        file.write("\n5,99.png")
    found = load(f"csv:{named}", files=Files(skip_bad=True))
    (note,) = check(found).notes
    assert note.startswith("1 files are not there and left out: digits/99.png, of ")


# Arrays


def test_arrays_of_the_caller(tmp_path: Path) -> None:
    x, y = np.arange(40, dtype=float).reshape(20, 2), np.array(["no", "yes"] * 10)
    found = Dataset.from_arrays(x, y)
    assert found.class_names == ("no", "yes")
    np.testing.assert_array_equal(found.train.y, found.train.x[:, 0] % 4 / 2)
    check(found)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    same(load(f"npz:{tmp_path / 'a.npz'}"), found)
    np.savez(tmp_path / "b.npz", x_train=x, y_train=y, x_test=x + 100, y_test=y)
    parted = load(f"npz:{tmp_path / 'b.npz'}", files=Files(valid_share=0.5))
    assert [len(split.y) for split in (parted.train, parted.valid, parted.test)] == [10, 10, 20]
    assert parted.test.x.min() == 100
    shifted = Dataset.from_arrays(x, np.arange(20) % 2 + 1, test=(x, np.ones(20, int)))
    assert shifted.class_names == ("1", "2")
    assert shifted.test.y.max() == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 2))}, "has x but no y"),
        ({"z": np.ones(3)}, "holds z; want x and y"),
        ({"x": np.ones((3, 2)), "y": np.ones(2)}, "3 rows in x but 2 in y"),
        ({"x": np.array(["a", "b"]), "y": np.ones(2)}, "x holds <U1; give numbers"),
        ({"x": np.array([{}, []], object), "y": np.ones(2)}, "cannot be read .*allow_pickle"),
        ({"x_test": np.ones((3, 2)), "y_test": np.ones(3)}, "has test but no train"),
        ({"x": np.ones((4, 2)), "y": np.array(["a", "b", "", "a"])}, "row 2 has no label"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    refused(f"npz:{tmp_path / 'a.npz'}", message)


def test_archives_of_arrays_that_cannot_be_read(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.ones(3))
    refused(f"npz:{tmp_path / 'one.npy'}", "holds one array without a name")
    refused(f"npz:{write(tmp_path, {'b.npz': b'no archive'}) / 'b.npz'}", "cannot be read")
    refused(f"npz:{tmp_path / 'none.npz'}", "no such file")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (0, 3)}, "image_size"),
        ({"valid_share": 1.0}, "valid_share 1.0: must be"),
        ({"valid_share": 0.5, "test_share": 0.5}, "must leave something to train on"),
        ({"label_pattern": "("}, "give a regular expression"),
        ({"label_pattern": "cat"}, "put the part that is the class in parentheses"),
        ({"split_seed": -1}, "split_seed -1"),
    ],
)
def test_options_outside_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Files(**options)
