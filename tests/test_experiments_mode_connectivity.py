"""The experiment on mode connectivity, on few digits and small networks."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import load_experiment

from mlpjax import MLP, Dataset, Recipe, UserError
from mlpjax.claims import run_experiment


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_experiment("mode_connectivity")


def test_experiment_bends_draws_and_states(experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path) -> None:
    def body(seeds: int, _quick: bool, out: Path) -> object:
        return experiment.settle(coarse_digits, (16,), 100, 400, seeds, out)

    run_experiment("mode_connectivity", "", body, 6, 6, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert {claim["seeds"] for claim in claims.values()} == {3}
    straight = claims["line: rise of the train loss"]["measured"]
    for curve in ("polygon", "bezier"):
        assert claims[f"{curve}: rise of the train loss"]["measured"] < straight / 2
        assert claims[f"{curve}: distance of the bend from the line's middle"]["measured"] > 0
    assert (tmp_path / "mode_connectivity.png").stat().st_size > 10_000


def test_all_paths_of_a_pair_have_the_same_two_ends(experiment: ModuleType, coarse_digits: Dataset) -> None:
    profiles, _ = experiment.walk_all(
        MLP((49, 8, 10)), Recipe(batch_size=50, epochs=3, eval_every=3), coarse_digits, 4, 2
    )
    for what in ("train loss", "train error", "test loss", "test error"):
        ends = [profile[what][:, [0, -1]] for profile in profiles.values()]
        assert ends[0].shape == (2, 2)
        for other in ends[1:]:
            np.testing.assert_allclose(other, ends[0], rtol=1e-5)
    assert len(np.unique(ends[0])) > 1


def test_a_rise_is_from_the_worse_end_to_the_highest_point(experiment: ModuleType) -> None:
    values = np.array([[1.0, 5.0, 2.0], [3.0, 0.0, 1.0]])
    assert experiment.rise(values).tolist() == [3.0, 0.0]


def test_an_odd_number_of_seeds_is_refused(experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seeds 5: give an even number"):
        experiment.settle(coarse_digits, (4,), 1, 1, 5, tmp_path)
