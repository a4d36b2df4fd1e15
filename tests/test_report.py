"""Figures show what they were given; the page is one safe file."""

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from conftest import labelled, texts
from matplotlib.figure import Figure

from mlpjax.activations import ACTIVATIONS
from mlpjax.data import Dataset, Split
from mlpjax.report import figures
from mlpjax.report.explore import Drawing, Panel, Series
from mlpjax.report.page import Picture, Section, Table, Tile, picture_files, render
from mlpjax.stats import wilson_ci

RNG = np.random.default_rng(0)


def metrics(loss: np.ndarray, split: str = "train") -> pd.DataFrame:
    """Tidy rows of losses [seeds, epochs] and of accuracies exp(-loss)."""
    seeds, epochs = np.indices(loss.shape)
    tables = [
        pd.DataFrame({"seed": seeds.ravel(), "epoch": epochs.ravel(), "metric": metric, "value": value.ravel()})
        for metric, value in (("loss", loss), ("accuracy", np.exp(-loss)), ("gradient_norm", loss))
    ]
    return pd.concat(tables).assign(split=split)


LOSS = RNG.uniform(1, 2, (20, 5)) * np.geomspace(1, 0.01, 5)


def drawn(*metrics: pd.DataFrame) -> Figure:
    return figures.learning_curves(figures.curve_panels(*metrics))


def test_learning_curves_show_median_and_band_of_loss_and_error() -> None:
    figure = drawn(pd.concat([metrics(LOSS), metrics(LOSS + 1, "test")]))
    labelled(figure)
    for axes, values in zip(figure.axes, (LOSS, 100 * (1 - np.exp(-LOSS))), strict=True):
        assert len(axes.lines) == len(axes.collections) == 2
        assert np.allclose(axes.lines[0].get_ydata(), np.median(values, axis=0))
        band = axes.collections[0].get_paths()[0].vertices
        assert band[:, 1].min() == pytest.approx(np.quantile(values, 0.025, axis=0).min())
        assert band[:, 1].max() == pytest.approx(np.quantile(values, 0.975, axis=0).max())
    assert figure.axes[1].get_ylabel() == "error (%)"
    shown = texts(figure)
    assert "train (n = 20)" in shown
    assert "central 95 %" in shown


def test_learning_curves_of_a_regression_show_its_rmse() -> None:
    frame = metrics(LOSS).replace({"metric": {"accuracy": "rmse"}})
    axes = drawn(frame).axes[1]
    assert axes.get_ylabel() == "RMSE"
    assert np.allclose(axes.lines[0].get_ydata(), np.median(np.exp(-LOSS), axis=0))


@pytest.mark.parametrize(("loss", "scale"), [(LOSS, "log"), (1 + LOSS / 10, "linear"), (LOSS - 1, "linear")])
def test_loss_axis_is_logarithmic_where_that_helps(loss: np.ndarray, scale: str) -> None:
    assert drawn(metrics(loss)).axes[0].get_yscale() == scale


def test_learning_curves_leave_diverged_seeds_out_and_count_the_rest() -> None:
    diverged = LOSS.copy()
    diverged[3, 2:] = np.nan
    figure = drawn(metrics(diverged))
    assert "train (n = 19)" in texts(figure)
    rest = np.median(np.delete(LOSS, 3, axis=0), axis=0)
    assert np.allclose(figure.axes[0].lines[0].get_ydata(), rest)


def test_controls_are_dashed_and_named_once() -> None:
    controls = pd.concat([metrics(np.full((4, 5), 2.3), split) for split in ("train", "test")])
    figure = drawn(metrics(LOSS), controls)
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "--", "--"]
    assert texts(figure).count("all-zero start (n = 4)") == 1


@pytest.mark.parametrize("loss", [LOSS[:1], LOSS[:, :1], np.full((2, 3), np.nan)])
def test_learning_curves_of_little(loss: np.ndarray) -> None:
    texts(drawn(metrics(loss)))


def test_panels_of_learning_curves_hold_every_seed_that_did_not_diverge() -> None:
    diverged = LOSS.copy()
    diverged[3, 2:] = np.nan
    _, errors = figures.curve_panels(metrics(diverged, "test"), metrics(LOSS[:2]))
    test, zero = errors.series
    assert test.seeds == [(seed,) for seed in range(20) if seed != 3]
    assert np.allclose(test.y, 100 * (1 - np.exp(-np.delete(LOSS, 3, axis=0))))
    assert (zero.name, zero.seeds) == ("all-zero start (n = 2)", [])


@pytest.mark.parametrize("along", ["x", "y"])
def test_shares_stand_with_wilsons_interval(along: str) -> None:
    axes = Figure().subplots()
    figures.draw_shares(axes, [3, 4.5], [(5, 20), (0, 20)], along=along, color=figures.BLUE)
    (bars,) = axes.containers
    points, segments = np.array(bars[0].get_data()), np.array(bars[2][0].get_segments())
    places, shares = points if along == "y" else points[::-1]
    assert places.tolist() == [3, 4.5]
    assert shares.tolist() == [25, 0]
    ends = [[100 * end for end in wilson_ci(hits, 20)] for hits in (5, 0)]
    np.testing.assert_allclose(segments[:, :, int(along == "y")], ends, atol=1e-12)


@pytest.mark.parametrize("seeds", [1, 2, 64, 20_000])
def test_final_distribution_counts_every_seed(seeds: int) -> None:
    finals = {"final train loss": RNG.lognormal(size=seeds), "final test loss": np.full(seeds, 2.302)}
    figure = figures.final_distribution(finals)
    labelled(figure)
    for axes, (label, values) in zip(figure.axes, finals.items(), strict=True):
        assert axes.get_xlabel() == label
        bars = [bar.get_height() for bar in axes.containers[0]]
        assert sum(bars) == seeds
        assert f"mean {values.mean():.4g}" in texts(figure)
    assert ("95 % interval" in texts(figure)) == (seeds > 1)


def dataset(shape: tuple[int, ...], classes: int) -> Dataset:
    split = Split(RNG.uniform(size=(60, *shape)).astype(np.float32), np.arange(60, dtype=np.int32) % classes)
    return Dataset("made", split, split, split, classes)


def test_sample_sheet_of_images_shows_their_class_in_its_row() -> None:
    data = dataset((4, 3), 3)
    figure = figures.sample_sheet(data)
    (mosaic,) = (np.asarray(image.get_array().filled(np.nan)) for image in figure.axes[0].images)
    assert mosaic.shape == (3 * 6, 15 * 5)
    second_of_class_1 = mosaic[6:10, 5:8]
    assert np.array_equal(second_of_class_1, data.train.x[4])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0", "1", "2"]


@pytest.mark.parametrize(("channels", "colours"), [(3, (3,)), (1, ()), (4, ())])
def test_sample_sheet_of_images_with_channels(channels: int, colours: tuple[int, ...]) -> None:
    data = dataset((4, 3, channels), 3)
    figure = figures.sample_sheet(data)
    (mosaic,) = (np.asarray(image.get_array()) for image in figure.axes[0].images)
    assert mosaic.shape == (3 * 6, 15 * 5, *colours)
    shown = data.train.x[4] if colours else data.train.x[4].mean(axis=-1)
    np.testing.assert_allclose(mosaic[6:10, 5:8], shown)


def test_sample_sheet_of_points_shows_each_class() -> None:
    figure = figures.sample_sheet(dataset((2,), 2))
    labelled(figure)
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [30, 30]
    assert "class 1" in texts(figure)


def test_sample_sheet_of_other_rows_shows_curves() -> None:
    figure = figures.sample_sheet(dataset((40,), 7))
    assert [len(axes.lines) for axes in figure.axes] == [5] * 7 + [0] * 3
    assert "index of the feature" in texts(figure)


def test_every_activation_is_drawn_with_its_derivative() -> None:
    figure = figures.activations()
    panels = {axes.get_title(): axes for axes in figure.axes if axes.lines}
    assert panels.keys() == ACTIVATIONS.keys()
    z, value = panels["tanh"].lines[0].get_data()
    assert np.allclose(value, np.tanh(z), atol=1e-6)
    assert np.allclose(panels["tanh"].lines[1].get_ydata(), 1 - np.tanh(z) ** 2, atol=1e-6)
    texts(figure)


def test_figures_leave_the_style_of_others_alone() -> None:
    before = Figure().subplots().xaxis.label.get_fontsize()
    figures.final_distribution({"loss": LOSS[:, 0]})
    assert Figure().subplots().xaxis.label.get_fontsize() == before


BLANK = Figure(figsize=(1, 1))
EVIL = "<script>alert(1)</script> & \"'"


class Tags(HTMLParser):
    """Counts the tags, checks that they nest, and collects all attributes and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        else:
            self.text += data


def page(text: str) -> str:
    table = Table(text, [text, text], [[text, text]], text)
    bare = Table(text, [], [[text, text]])
    series = Series(text, "C0", np.arange(2), np.ones((1, 2)), [(3,)])
    picture = Picture(text, text, BLANK, text, text, Drawing([Panel(text, text, [series])]))
    sections = [Section(text, f"{text}\n\n{text}", [table, picture, bare]), Section(text, "", [])]
    return render(text, text, [Tile(text, text, text), Tile(text, text)], sections)


def test_page_escapes_every_text() -> None:
    harmless, evil = Tags(page("harmless")), Tags(page(EVIL))
    assert evil.tags == harmless.tags
    assert evil.scripts[1:] == harmless.scripts[1:]
    assert json.loads(evil.scripts[0]) == json.loads(harmless.scripts[0].replace("harmless", json.dumps(EVIL)[1:-1]))
    assert evil.text.count(EVIL) == harmless.text.count("harmless")
    assert ("alt", EVIL) in evil.attributes


def test_page_fetches_nothing() -> None:
    found = Tags(page("text"))
    assert "http" not in page("text")
    assert "url(" not in page("text")
    assert "link" not in found.tags
    sources = [value or "" for name, value in found.attributes if name in ("src", "href")]
    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#section-")) for source in sources)


def test_a_picture_has_a_file_of_each_kind() -> None:
    picture = Picture("blank", "", BLANK, "", "")
    files = picture_files([picture, Table("", (), [])])
    assert [*files] == ["blank.png", "blank.svg", "blank.pdf"]
    png, svg, pdf = files.values()
    assert (png, b"<svg" in svg, pdf[:5]) == (figures.png(BLANK), True, b"%PDF-")
    assert files == picture_files([Picture("blank", "", Figure(figsize=(1, 1)), "", "")])


def test_a_page_of_pictures_alone_has_no_script() -> None:
    assert Tags(render("", "", [], [Section("", "", [Picture("", "", BLANK, "", "")])])).scripts == []


def test_navigation_leads_to_each_section() -> None:
    found = Tags(page("text"))
    targets = [value for name, value in found.attributes if name == "id"]
    assert [f"#{target}" for target in targets] == [value for name, value in found.attributes if name == "href"]
    assert len(targets) == 2


def test_page_holds_what_it_was_given() -> None:
    found = Tags(page("text"))
    count = found.tags.count
    assert (count("img"), count("table"), count("thead"), count("section"), count("dt")) == (1, 2, 1, 2, 2)
