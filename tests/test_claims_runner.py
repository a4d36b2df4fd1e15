"""An experiment's run: results.json keeps the contract, and a user's error ends in one line."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mlpjax.claims import Claim, run_experiment
from mlpjax.claims.runner import SKIPPED, write_results
from mlpjax.errors import UserError

CLAIMS = [
    Claim(
        "dropout test error",
        unit="%",
        measured=1.7,
        ci95=(1.66, 1.74),
        seeds=64,
        published=1.8,
        relation="at most",
        source="ISLR 10.2",
    ),
    Claim(
        "ridge | test error",
        unit="%",
        measured=2.0,
        ci95=(1.9, 2.1),
        seeds=64,
        published=2.3,
        relation="about",
        tolerance=0.1,
        source="ISLR 10.2",
    ),
    Claim("parameters", measured=235146, ci95=None, seeds=1),
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
    solved = Claim(
        "solved",
        unit="%",
        measured=50.0,
        ci95=(40.0, 60.0),
        seeds=seeds,
        published=50.0,
        relation="at least",
        source="[1]",
    )
    return [solved], {"quick": quick}


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


def test_a_claim_survives_the_file(tmp_path: Path) -> None:
    written = json.loads(write_results(tmp_path, "islr", CLAIMS, 1.0, {}, False, "").read_text())["claims"]
    for claim, read in zip(CLAIMS, written, strict=True):
        assert Claim.from_json(read) == claim
        assert read["verdict"] == claim.verdict


def run_on_mnist(*argv: str) -> list[str]:
    """What the body of an experiment on full MNIST is given as its data."""
    given: list[str] = []

    def on_mnist(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
        given.append(data)
        return body(seeds, quick, out)

    run_experiment("digits", "", on_mnist, 1000, 10, argv, full_mnist=True)
    return given


@pytest.mark.parametrize(
    ("argv", "environment", "data", "recorded"),
    [
        (["--data", "idx:/home/me/mnist"], None, "idx:/home/me/mnist", " --data idx:DIR"),
        (["--data", "tfds:mnist"], "idx:/elsewhere", "tfds:mnist", " --data tfds:mnist"),
        ([], "idx:/elsewhere", "idx:/elsewhere", " --data idx:DIR"),
        ([], "/else where", "idx:/else where", " --data idx:DIR"),
        ([], "tfds:mnist", "tfds:mnist", " --data tfds:mnist"),
        (["--quick"], None, "", " --quick"),
    ],
)
def test_full_mnist_is_found_by_the_option_or_the_environment(
    argv: list[str],
    environment: str | None,
    data: str,
    recorded: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if environment is None:
        monkeypatch.delenv("MLPJAX_MNIST", raising=False)
    else:
        monkeypatch.setenv("MLPJAX_MNIST", environment)
    assert run_on_mnist(*argv, "--seeds", "5", "--out", str(tmp_path)) == [data]
    command = json.loads((tmp_path / "results.json").read_text())["command"]
    assert command == f"python experiments/digits.py --seeds 5{recorded}"


def test_without_full_mnist_an_experiment_is_skipped_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLPJAX_MNIST", raising=False)
    with pytest.raises(SystemExit) as exit_:
        run_on_mnist("--out", str(tmp_path / "out"))
    assert exit_.value.code == SKIPPED
    error = capsys.readouterr().err
    assert error.startswith("skipped: digits ") and error.count("\n") == 1
    assert "--data idx:DIR" in error and "--data tfds:mnist" in error
    assert not (tmp_path / "out").exists()
