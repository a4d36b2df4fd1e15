"""Loss barriers: the lines end at the networks, and tiles and figures show what they were given."""

import numpy as np
import pytest
from conftest import labels

from mlpjax.findings.barriers import FINDING, Barriers, Line, draw_barriers
from mlpjax.report.explore import Panel, Series
from mlpjax.stats import mean_ci

RNG = np.random.default_rng(0)


def test_the_lines_end_at_the_networks(subject, silent):
    found = FINDING.find(subject, silent)
    assert found.seeds == [(3, 4)]
    losses = subject.random.history["train_loss"][:2, -1]
    assert [*found.lines] == ["before", "after"]
    for line in found.lines.values():
        np.testing.assert_allclose(line.losses[0, [0, -1]], losses, rtol=1e-5)
    assert FINDING.summarise(found)["before"]["mean"] == pytest.approx(float(found.lines["before"].barrier[0]))
    picture, table = FINDING.show(found)
    assert table.title == "Loss barriers"
    (panel,) = picture.drawing.parts
    for series, line in zip(panel.series, found.lines.values(), strict=True):
        np.testing.assert_array_equal(series.y, line.losses)
        assert series.seeds == found.seeds


def test_the_tiles_carry_their_interval():
    heights = RNG.uniform(1, 2, 6)
    lines = RNG.uniform(1, 2, (6, 5))
    kinds = {"before": Line(lines, heights), "after": Line(lines, heights / 10)}
    found = Barriers([(2 * i, 2 * i + 1) for i in range(6)], np.linspace(0, 1, 5), kinds)
    before, after = FINDING.tiles(found)
    assert before.value == f"{heights.mean():.3g}"
    ends = "95 % interval {:.4g} to {:.4g}".format(*mean_ci(heights))
    assert before.interval == f"{ends}, rise of the train loss between two networks, 6 pairs of seeds"
    assert after.label == "Loss barrier, units matched"
    assert after.interval.startswith("95 % interval {:.4g}".format(*mean_ci(heights / 10)))


def test_barriers_draw_the_median_of_both():
    before, after = RNG.uniform(1, 2, (6, 11)), RNG.uniform(0, 1, (6, 11))
    t, seeds = np.linspace(0, 1, 11), [(2 * pair, 2 * pair + 1) for pair in range(6)]
    series = [Series("as trained", "C0", t, before, seeds), Series("units matched", "C1", t, after, seeds)]
    figure = draw_barriers(Panel("way", "train loss", series))
    assert labels(figure) == {"as trained", "units matched"}
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["units matched"], np.median(after, axis=0))
    assert figure.axes[0].get_ylim()[0] == 0
