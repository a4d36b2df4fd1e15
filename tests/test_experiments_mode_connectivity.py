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
        return experiment.settle(coarse_digits, (16,), 100, 200, seeds, out)

    run_experiment("mode_connectivity", "", body, 6, 6, ["--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert {claim["seeds"] for claim in claims.values()} == {3}
    straight = claims["line: rise of the train loss"]["measured"]
    for curve in ("polygon", "bezier"):
        assert claims[f"{curve}: rise of the train loss"]["measured"] < straight / 2
        above = claims[f"rise of the train loss, line above {curve}{experiment.RANDOM}"]
        assert (above["statistic"], above["relation"]) == ("paired difference", "above")
        lengths = [
            claims[f"{path}: distance of the bend from the line's middle"]
            for path in (curve, curve + experiment.RANDOM)
        ]
        assert 0 < lengths[0]["measured"] < lengths[1]["measured"]
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


README = """
VGG16 (Single)            | 0.24         | 0.24         | 6.79             | 6.94
VGG16 (Bezier)            | 0.14         | 0.24         | 6.79             | 7.75
VGG16 (Poly)              | 0.16         | 0.27         | 6.79             | 8.08
PreResNet164 (Single)     | 0.18         | 0.18         | 4.76             | 4.75
PreResNet164 (Bezier)     | 0.09         | 0.18         | 4.45             | 4.97
PreResNet164 (Poly)       | 0.11         | 0.18         | 4.39             | 5.13
WideResNet28x10 (Single)  | 0.08         | 0.09         | 3.69             | 3.73
WideResNet28x10 (Bezier)  | 0.05         | 0.09         | 3.49             | 3.88
WideResNet28x10 (Poly)    | 0.05         | 0.10         | 3.53             | 4.29
"""
"""The authors' table: least and highest train loss, least and highest test error."""


def test_the_published_figures_are_those_of_the_authors_table(experiment: ModuleType) -> None:
    highest: dict[tuple[str, str], list[float]] = {}
    for row in README.strip().splitlines():
        name, *figures = row.split("|")
        least_loss, most_loss, least_error, most_error = map(float, figures)
        for what, ends in (("train loss", (least_loss, most_loss)), ("test error", (least_error, most_error))):
            highest.setdefault((name.split()[0], what), []).append(max(ends))
    stated = {(network, what): list(row) for network, of in experiment.PUBLISHED.items() for what, row in of.items()}
    assert stated == highest


def test_the_published_rises_are_relative_and_rounded_up(experiment: ModuleType) -> None:
    assert experiment.published_rise("polygon", "train loss", "VGG16") == pytest.approx(100 * (0.275 / 0.235 - 1))
    assert experiment.published_rise("bezier", "train loss", "WideResNet28x10") == pytest.approx(100 * 0.01 / 0.085)
    assert experiment.published_rise("bezier", "test error", "PreResNet164") == pytest.approx(100 * 0.22 / 4.755)


def fake(experiment: ModuleType, rises: dict[str, float], pairs: int = 16) -> dict[str, dict[str, np.ndarray]]:
    """Ends of 0.001 nats, or 5 %, and a hump of so many % of that in the middle, not quite the same in all pairs."""
    profiles = {}
    for path in experiment.STYLES:
        hump = 1 + rises.get(path, 0) / 100 * np.linspace(0.99, 1.01, pairs)
        profiles[path] = {}
        for what, end in (("train loss", 1e-3), ("train error", 5.0), ("test loss", 1e-3), ("test error", 5.0)):
            profiles[path][what] = np.full((pairs, 61), end)
            profiles[path][what][:, 30] *= hump
    return profiles


def test_a_rise_is_judged_by_what_the_ends_have(experiment: ModuleType) -> None:
    profiles = fake(experiment, {"line": 1000, "polygon": 20, "bezier": 4, f"polygon{experiment.RANDOM}": 30})
    claims = {claim.name: claim for claim in experiment.claims_of(profiles, {})}

    def verdicts(curve: str, what: str) -> list[str]:
        name = f"{curve}: rise of the {what} relative to the worse end, at most that of"
        return [claims[f"{name} {network}"].verdict for network in experiment.PUBLISHED]

    assert verdicts("polygon", "train loss") == ["fails", "fails", "holds"]
    assert verdicts("polygon", "test error") == ["fails", "fails", "fails"]
    assert verdicts("bezier", "train loss") == ["holds", "holds", "holds"]
    assert claims["polygon: rise of the train loss, share of the line's"].measured == pytest.approx(2)
    assert claims[f"rise of the train loss, line above polygon{experiment.RANDOM}"].verdict == "holds"
    assert sum(bool(claim.settles) for claim in claims.values()) == 3
    # Along curves that do not rise in any pair the median is known all the same.
    level = {claim.name: claim for claim in experiment.claims_of(fake(experiment, {"line": 1}), {})}
    assert level["bezier: rise of the train loss relative to the worse end, at most that of VGG16"].verdict == "holds"


def test_a_line_without_a_barrier_is_not_above_the_curves(experiment: ModuleType) -> None:
    profiles = fake(experiment, dict.fromkeys(experiment.STYLES, 10))
    above = [claim for claim in experiment.claims_of(profiles, {}) if "line above" in claim.name]
    assert len(above) == 4
    assert "holds" not in {claim.verdict for claim in above}


def test_an_odd_number_of_seeds_is_refused(experiment: ModuleType, coarse_digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seeds 5: give an even number"):
        experiment.settle(coarse_digits, (4,), 1, 1, 5, tmp_path)
