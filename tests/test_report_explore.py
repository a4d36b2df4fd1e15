"""What the page's script draws is what the figures were given; and in a browser, where there is one, it draws it."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlpjax.report.explore import POINTS, SEEDS, SIDE, Drawing, Histogram, Panel, Series, Surface
from mlpjax.report.page import Picture, Section, render

RNG = np.random.default_rng(0)
LINES = RNG.uniform(1, 2, (5, 4))
SERIES = Series("test (n = 5)", "#D55E00", np.arange(4), LINES, [(seed,) for seed in (3, 4, 5, 6, 7)])
ZERO = Series("all-zero start (n = 2)", "#777777", np.arange(4), np.full((2, 4), 2.3))
PANEL = Panel("epoch", "loss", [SERIES, ZERO], log=True)
HISTOGRAM = Histogram(
    "final loss", "C0", np.linspace(1, 2, 3), np.array([2, 3]), 1.5, [1.4, 1.6], LINES[:, -1], [3, 4, 5, 6, 7]
)
AXIS = np.linspace(-1, 1, 3)
LOSS = 0.1 + AXIS[:, None] ** 2 + 2 * AXIS**2
SURFACE = Surface("one", "other", AXIS, AXIS, LOSS, np.array([[1.0, 1.0, 3.1], [0.0, 0.0, 0.1]]))


def data(part):
    (found,) = Drawing([part]).data()["parts"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_lines_keep_their_seeds_their_median_and_their_band():
    seen, zero = data(PANEL)["series"]
    np.testing.assert_allclose(seen["lines"], LINES, rtol=1e-3)
    np.testing.assert_allclose(seen["median"], np.median(LINES, axis=0), rtol=1e-3)
    np.testing.assert_allclose(seen["band"], np.quantile(LINES, [0.025, 0.975], axis=0), rtol=1e-3)
    assert seen["seeds"] == [[3], [4], [5], [6], [7]]
    assert (zero["lines"], zero["band"], zero["median"]) == ([], None, [2.3] * 4)


def test_of_many_seeds_and_points_some_are_kept_and_the_median_is_of_all():
    many = RNG.uniform(1, 2, (3 * SEEDS, 10 * POINTS))
    series = Series("many", "C0", np.arange(10 * POINTS), many, [(seed,) for seed in range(3 * SEEDS)])
    (found,) = data(Panel("step", "loss", [series]))["series"]
    assert np.shape(found["lines"]) == (SEEDS, POINTS)
    assert [found["x"][0], found["x"][-1]] == [0, 10 * POINTS - 1]
    np.testing.assert_allclose(found["median"][-1], np.median(many[:, -1]), rtol=1e-3)
    assert len(json.dumps(found)) < 200_000


def test_a_histogram_knows_the_rank_of_each_seed():
    found = data(HISTOGRAM)
    assert found["rank"] == [1 + sum(other < own for other in LINES[:, -1]) for own in LINES[:, -1]]
    assert (found["of"], found["counts"], found["ci95"]) == (5, [2, 3], [1.4, 1.6])


@pytest.mark.parametrize(("loss", "log"), [(LOSS, True), (LOSS - 1, False), (np.where(LOSS > 2, np.inf, LOSS), True)])
def test_a_surface_is_in_log_loss_where_it_can_be_and_has_holes(loss, log):
    found = data(Surface("one", "other", AXIS, AXIS, loss, SURFACE.path))
    assert found["log"] is log
    shown = np.array(found["loss"], float)
    np.testing.assert_allclose(shown[np.isfinite(loss)], loss[np.isfinite(loss)], rtol=1e-3)
    assert np.isnan(shown[~np.isfinite(loss)]).all()


def test_a_fine_surface_is_made_coarser():
    axis = np.linspace(-1, 1, 5 * SIDE)
    found = data(Surface("one", "other", axis, AXIS, axis[:, None] + AXIS, SURFACE.path))
    assert np.shape(found["loss"]) == (SIDE, 3)
    np.testing.assert_allclose(np.array(found["x"])[:, None] + found["y"], found["loss"], atol=1e-3)
    assert (found["x"][0], found["x"][-1]) == (-1, 1)


@pytest.fixture(scope="module")
def browser():
    for name in ("chromium", "google-chrome", "chromium-browser"):
        if found := shutil.which(name):
            return found
    return pytest.skip("needs Chromium or Chrome")


CHOOSE = """<script>
const picker = document.querySelector("select");
picker.value = "6";
picker.dispatchEvent(new Event("change"));
const turning = document.querySelector(".turns");
const before = turning.toDataURL();
turning.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
document.title = turning.toDataURL() === before ? "still" : "turned";
</script></body>"""


def test_the_script_singles_out_one_seed_in_all_figures_and_turns_the_surface(browser, tmp_path):
    drawings = [Drawing([PANEL], whole=True), Drawing([HISTOGRAM], whole=True), Drawing([SURFACE])]
    pictures = [
        Picture(str(place), "", Figure(figsize=(1, 1)), "", "alt", drawing) for place, drawing in enumerate(drawings)
    ]
    (tmp_path / "page.html").write_text(render("", "", [], [Section("", "", pictures)]).replace("</body>", CHOOSE))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=1000", "--dump-dom", (tmp_path / "page.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.findall(r'<option value="(\d*)"', dom) == ["", "3", "4", "5", "6", "7"]
    assert dom.count("<canvas") == 3
    assert dom.count("<details>") == 2  # the surface shows less than its picture
    curve, ends, surface = re.findall(r'<p class="told".*?>(.*?)</p>', dom)
    assert curve == f"Seed 6: loss at epoch 3: test {float(f'{LINES[3, -1]:.4g}')}."
    assert ends.startswith(f"Seed 6: final loss {float(f'{LINES[3, -1]:.4g}')}, place ")
    assert surface.startswith("Drag it to turn it")
    assert "<title>turned</title>" in dom
