"""The re-basin experiment on few digits and narrow networks: what it compares, and its claims against known numbers."""

import json
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import MLP, Dataset, Recipe, Split, UserError
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("rebasin")


def test_experiment_trains_matches_draws_and_states(
    experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path
) -> None:
    def body(seeds: int, _quick: bool, out: Path) -> object:
        return experiment.settle(coarse_digits, 16, 15, coarse_digits, (2, 12), 30, seeds, out, published=False)

    run_experiment("rebasin", "", body, 4, 4, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert {claim["seeds"] for claim in claims.values()} == {2, 4}
    barrier = "3 x 16, train loss, barrier above the mean"
    before, after = (claims[f"{barrier}, {when} matching"]["measured"] for when in ("before", "after"))
    assert 0 < after < before
    assert claims["3 x 16, planted elements found again"]["measured"] == 100
    assert claims["3 x 16, passes to find them"]["measured"] >= 1
    assert {claim["verdict"] for claim in claims.values()} == {"new"}
    assert len(results["config"]["barrier before matching by width"]) == 2
    for name in ("rebasin.png", "rebasin_width.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_pairs_are_disjoint_and_matching_leaves_the_ends_as_they_are(
    experiment: ModuleType, coarse_digits: Dataset
) -> None:
    model, recipe = MLP((49, 12, 10)), Recipe(batch_size=50, epochs=5, eval_every=5)
    pairs, params = experiment.compare(model, recipe, coarse_digits, 4)
    assert params["dense_0"]["kernel"].shape == (4, 49, 12)
    for what in (pairs.loss, pairs.error):
        for split in ("train", "test"):
            before, after = what["before"][split], what["after"][split]
            assert before.shape == (2, 25)
            np.testing.assert_allclose(before[:, [0, -1]], after[:, [0, -1]], rtol=1e-4)
            assert not np.allclose(before[:, 12], after[:, 12])
    ends = pairs.loss["before"]["train"][:, [0, -1]].ravel()
    np.testing.assert_allclose(ends, pairs.train_loss, rtol=1e-4)  # all of so few digits are on the line
    assert len(np.unique(pairs.train_loss)) == 4


def fake(experiment: ModuleType, before: float, after: float, train_loss: float, pairs: int = 3) -> object:
    """Pairs whose loss is 0.1 and 0.3 at the ends and so much higher in the middle."""
    rows = {}
    for when, height in (("before", before), ("after", after)):
        row = np.linspace(0.1, 0.3, 25)
        row[12] += height
        rows[when] = {split: np.tile(row, (pairs, 1)) for split in ("train", "test")}
    return experiment.Pairs(rows, rows, np.full(2 * pairs, train_loss), np.full(pairs, 5))


def test_barriers_by_hand(experiment: ModuleType) -> None:
    pairs = fake(experiment, before=1.0, after=0.02, train_loss=0.1)
    np.testing.assert_allclose(pairs.barriers("before", "train", "chord"), 1.0, rtol=1e-5)
    np.testing.assert_allclose(pairs.barriers("after", "test", "chord"), 0.02, rtol=1e-3)
    np.testing.assert_allclose(pairs.barriers("after", "test", "mean"), 0.1, rtol=1e-5)


def test_claims_of_widths_by_hand(experiment: ModuleType) -> None:
    widths = (4, 16, 64)
    found = [fake(experiment, height, 0.0, loss) for height, loss in ((0.5, 0.3), (2.0, 0.009), (1.0, 0.001))]
    claims = {claim.name.split(": ", 1)[-1]: claim for claim in experiment.claims_of_widths(widths, found)}
    rise, fall = claims["rise from 4 units to the peak"], claims["fall from the peak to 64"]
    assert (rise.measured, fall.measured) == pytest.approx((1.5, 1.0))
    assert rise.verdict == fall.verdict == "holds"
    peak = claims["units at the peak"]
    assert (peak.measured, peak.published, peak.verdict) == (4, 4, "holds")
    assert claims["16 units"].measured == 0  # the later of two of this name: after matching
    poor = experiment.claims_of_widths(widths, [fake(experiment, 1.0, 0.0, 0.3)] * 3)
    assert [claim.verdict for claim in poor if "units at the peak" in claim.name] == ["new"]


def test_the_width_that_just_fits_is_the_first_that_does(experiment: ModuleType) -> None:
    assert experiment.just_fits([np.array([0.1, 0.2]), np.array([0.0, 0.02]), np.array([0.0, 0.0])]) == 1
    assert experiment.just_fits([np.array([0.1])]) is None


def test_the_peak_for_a_pair_is_chosen_without_it(experiment: ModuleType) -> None:
    barriers = np.array([[1.0, 9.0, 1.0, 9.0], [5.0, 0.0, 5.0, 0.0]])
    assert experiment.peaks_elsewhere(barriers).tolist() == [0, 1, 0, 1]


def test_claims_of_matching_compare_with_what_was_published(experiment: ModuleType) -> None:
    pairs = fake(experiment, before=1.0, after=0.0, train_loss=0.1)
    claims = {
        claim.name: claim
        for claim in experiment.claims_of_matching("3 x 512", pairs, np.array([True, True]), np.array([3, 5]))
    }
    assert claims["3 x 512, passes to find them"].verdict == "undecided"
    # The mean's barrier of a straight rise from 0.1 to 0.3 is 0.1: above 0.02, although nothing is in the way.
    assert claims["3 x 512, train loss, barrier above the mean, after matching"].verdict == "fails"
    assert claims["3 x 512, test error, barrier above the mean, after matching"].verdict == "holds"


def test_pairs_are_asked_for(experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path) -> None:
    for seeds in (2, 5):
        with pytest.raises(UserError, match=f"--seeds {seeds}: give an even number"):
            experiment.settle(coarse_digits, 4, 1, coarse_digits, (2,), 1, seeds, tmp_path, published=False)


def test_a_thinned_split_is_spread_over_the_whole(experiment: ModuleType) -> None:
    split = Split(np.arange(60_000, dtype=np.float32)[:, None], np.zeros(60_000, np.int32))
    thin = experiment.thin(split)
    assert len(thin.y) == 10_000 and thin.x[-1, 0] == 59_994
    assert experiment.thin(thin).x is not None and len(experiment.thin(thin).y) == 10_000


def test_a_network_of_many_is_one(experiment: ModuleType) -> None:
    params = jax.vmap(MLP((2, 3, 2)).init)(jax.random.split(jax.random.key(0), 3)).params
    np.testing.assert_array_equal(experiment.network(params, 1)["dense_0"]["kernel"], params["dense_0"]["kernel"][1])
