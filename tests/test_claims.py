"""Verdicts follow from the numbers; results.json and the ledger keep the contract."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpjax.claims import Claim, ledger, main, run_experiment, verdict, write_results
from mlpjax.errors import UserError

BELOW, ACROSS, ABOVE = (1.0, 2.0), (1.0, 4.0), (4.0, 5.0)


@pytest.mark.parametrize(
    ("ci95", "relation", "tolerance", "expected"),
    [
        (BELOW, "at most", None, "holds"),
        (ACROSS, "at most", None, "undecided"),
        (ABOVE, "at most", None, "fails"),
        (BELOW, "at least", None, "fails"),
        (ACROSS, "at least", None, "undecided"),
        (ABOVE, "at least", None, "holds"),
        (BELOW, "about", 0.5, "fails"),
        (BELOW, "about", 1.5, "undecided"),
        (BELOW, "about", 2.0, "holds"),
        (ACROSS, "about", 0.5, "undecided"),
        (ABOVE, "about", 0.5, "fails"),
        (ABOVE, "about", 1.5, "undecided"),
        (ABOVE, "about", 2.0, "holds"),
        ((3.0, 3.0), "at most", None, "holds"),
        ((3.0, 3.0), "at least", None, "holds"),
        ((3.0, 3.0), "about", 0.0, "holds"),
        ((3.0, 4.0), "at most", None, "undecided"),
        ((2.0, 3.0), "at least", None, "undecided"),
        (None, "at most", None, "undecided"),
    ],
)
def test_verdict_about_a_published_three(ci95: Any, relation: Any, tolerance: Any, expected: str) -> None:
    assert verdict(ci95, 3.0, relation, tolerance) == expected


def test_what_nobody_published_is_new() -> None:
    assert verdict(BELOW, None, None, None) == "new"
    assert verdict(None, None, None, None) == "new"


reals = st.floats(-1e6, 1e6)
widths = st.floats(0.01, 1e6)


@given(widths, reals)
def test_moving_the_interval_past_the_line_flips_the_verdict(width: float, published: float) -> None:
    below = (published - width - 1, published - 1)
    above = (published + 1, published + width + 1)
    across = (published - width, published + width)
    for ci95, at_most, at_least in (
        (below, "holds", "fails"),
        (across, "undecided", "undecided"),
        (above, "fails", "holds"),
    ):
        assert verdict(ci95, published, "at most", None) == at_most
        assert verdict(ci95, published, "at least", None) == at_least


@given(reals, widths, reals)
def test_at_least_is_at_most_in_the_mirror(low: float, width: float, published: float) -> None:
    mirrored = verdict((-low - width, -low), -published, "at least", None)
    assert verdict((low, low + width), published, "at most", None) == mirrored


@given(reals, widths, reals, widths)
def test_about_is_at_most_and_at_least(low: float, width: float, published: float, tolerance: float) -> None:
    ci95 = (low, low + width)
    sides = {
        verdict(ci95, published + tolerance, "at most", None),
        verdict(ci95, published - tolerance, "at least", None),
    }
    expected = "holds" if sides == {"holds"} else "fails" if "fails" in sides else "undecided"
    assert verdict(ci95, published, "about", tolerance) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"measured": 3.0},
        {"measured": math.nan},
        {"ci95": (2.0, 1.0)},
        {"ci95": (0.0, math.inf)},
        {"seeds": 0},
        {"relation": None},
        {"published": None},
        {"relation": "about"},
        {"tolerance": 0.1},
        {"relation": "about", "tolerance": -0.1},
    ],
)
def test_numbers_that_do_not_go_together_are_refused(wrong: dict[str, Any]) -> None:
    right = {"measured": 1.7, "ci95": (1.66, 1.74), "seeds": 64, "published": 1.8, "relation": "at most"}
    Claim("dropout test error", "%", **right)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dropout test error"):
        Claim("dropout test error", "%", **right | wrong)  # type: ignore[arg-type]


CLAIMS = [
    Claim("dropout test error", "%", 1.7, (1.66, 1.74), 64, 1.8, "at most", source="ISLR 10.2"),
    Claim("ridge | test error", "%", 2.0, (1.9, 2.1), 64, 2.3, "about", 0.1, "ISLR 10.2"),
    Claim("parameters", "", 235146, None, 1),
]


def test_results_keep_the_contract(tmp_path: Path) -> None:
    path = write_results(tmp_path / "new", "islr", CLAIMS, 412.04, {"epochs": 30}, False, "python experiments/islr.py")
    assert path == tmp_path / "new" / "results.json"
    results = json.loads(path.read_text())
    assert results["claims"][0] == {
        "name": "dropout test error",
        "unit": "%",
        "measured": 1.7,
        "ci95": [1.66, 1.74],
        "seeds": 64,
        "published": 1.8,
        "relation": "at most",
        "tolerance": None,
        "source": "ISLR 10.2",
        "verdict": "holds",
    }
    assert [claim["verdict"] for claim in results["claims"]] == ["holds", "fails", "new"]
    assert results["versions"].keys() >= {"python", "mlpjax", "jax", "flax", "optax", "numpy"}
    assert isinstance(results["device"], str)
    assert results | {"claims": [], "versions": {}, "device": "", "git": ""} == {
        "experiment": "islr",
        "claims": [],
        "seconds": 412.0,
        "device": "",
        "versions": {},
        "git": "",
        "config": {"epochs": 30},
        "quick": False,
        "command": "python experiments/islr.py",
    }


def test_a_config_that_json_cannot_hold_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(tmp_path, "islr", CLAIMS, 1.0, {"rate": math.inf}, False, "")
    assert list(tmp_path.iterdir()) == []


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    if seeds == 13:
        raise UserError("13 seeds bring bad luck: give another number")
    (out / "lucky.png").write_bytes(b"")
    return [Claim("solved", "%", 50.0, (40.0, 60.0), seeds, 50.0, "at least", source="[1]")], {"quick": quick}


def run(*argv: str) -> None:
    run_experiment("lucky", "Luck is on our side [1].\n\nExpected: half.", body, 1000, 10, argv)


def test_experiment_runs_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--out", str(tmp_path))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["command"] == "python experiments/lucky.py --seeds 1000"
    assert (results["quick"], results["config"], results["claims"][0]["seeds"]) == (
        False,
        {"quick": False},
        1000,
    )
    printed = capsys.readouterr().out
    assert "50 [40, 60] %" in printed
    assert "undecided" in printed
    assert "quick" not in printed


def test_quick_experiment_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--quick", "--out", str(tmp_path))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["command"] == "python experiments/lucky.py --seeds 10 --quick"
    assert (results["quick"], results["claims"][0]["seeds"]) == (True, 10)
    assert "too few" in capsys.readouterr().out


def test_experiment_writes_under_runs_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("--seeds", "5")
    assert (tmp_path / "runs" / "lucky" / "results.json").exists()


def test_experiment_help_is_its_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("--help")
    assert exit_.value.code == 0
    assert "Luck is on our side [1]." in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["--seeds", "0"], ["--seeds", "13"], ["--out", "FILE/folder"]])
def test_a_user_s_error_is_one_line_and_exit_code_2(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    with pytest.raises(SystemExit) as exit_:
        run(*argv)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert argv[1] in error


@pytest.fixture
def results_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    for name, quick in (("islr", False), ("islr_wide", True)):
        file = write_results(tmp_path, name, CLAIMS, 1234.0, {}, quick, f"python experiments/{name}.py")
        file.rename(folder / f"{name}.json")
    for name in ("islr", "islr_wide", "islr_curves"):
        (folder / f"{name}.png").touch()
    return folder


def test_ledger_shows_every_claim_and_each_figure_once(results_dir: Path) -> None:
    page = ledger(results_dir)
    narrow, wide = page.split("## islr_wide")
    assert "| dropout test error | ≤ 1.8 % | 1.7 [1.66, 1.74] % | 64 | **holds** | ISLR 10.2 |" in narrow
    assert "| ridge \\| test error | ≈ 2.3 ± 0.1 % | 2 [1.9, 2.1] % | 64 | **fails** | ISLR 10.2 |" in narrow
    assert "| parameters |  | 235,146 | 1 | **new** |  |" in narrow
    assert "1,234 s on " in narrow
    assert "`python experiments/islr.py`" in narrow
    assert "(results/islr.png)" in narrow
    assert "(results/islr_curves.png)" in narrow
    assert page.count("islr_wide.png") == wide.count("(results/islr_wide.png)") == 1
    assert "A quick run" in wide
    assert "A quick run" not in narrow


def test_ledger_computes_verdicts_and_trusts_none(results_dir: Path) -> None:
    file = results_dir / "islr.json"
    file.write_text(file.read_text().replace('"holds"', '"fails"'))
    assert "**holds**" in ledger(results_dir).split("## islr_wide")[0]


def test_ledger_of_nothing(tmp_path: Path) -> None:
    assert ledger(tmp_path / "absent").startswith("# What the experiments found")


@pytest.mark.parametrize("text", ["{", "{}", '{"claims": [{"name": "a"}]}', "[]"])
def test_a_file_that_is_no_result_is_named(text: str, results_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results_dir / "broken.json").write_text(text)
    with pytest.raises(SystemExit) as exit_:
        main(results_dir)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert "broken.json is not an experiment's results" in error
    assert error.count("\n") == 1


def test_main_writes_the_ledger_beside_the_results(results_dir: Path) -> None:
    main(results_dir)
    assert (results_dir.parent / "README.md").read_text(encoding="utf-8") == ledger(results_dir)


def test_a_claim_survives_the_file(tmp_path: Path) -> None:
    written = json.loads(write_results(tmp_path, "islr", CLAIMS, 1.0, {}, False, "").read_text())["claims"]
    for claim, read in zip(CLAIMS, written, strict=True):
        assert Claim.from_json(read) == claim
        assert read["verdict"] == claim.verdict
