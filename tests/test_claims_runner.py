"""An experiment's run: results.json keeps the contract, and a user's error ends in one line."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlpjax.claims import MNIST, Claim, run_experiment
from mlpjax.claims.runner import SKIPPED, write_results
from mlpjax.claims.values import by_claim
from mlpjax.errors import UserError
from mlpjax.stats import mean_ci

RUN = {"shared": "one split", "config": {"epochs": 30}, "quick": False, "command": "python experiments/islr.py"}


def test_results_keep_the_contract(claims: list[Claim], tmp_path: Path) -> None:
    path = write_results(tmp_path / "new", "islr", claims, 412.04, RUN)
    assert path == tmp_path / "new" / "results.json"
    results = json.loads(path.read_text())
    low, high = mean_ci(claims[0].values[0]) or (0, 0)
    assert results["claims"][0] == {
        "name": "dropout test error",
        "unit": "%",
        "statistic": "mean",
        "measured": pytest.approx(1.7),
        "ci95": [low, high],
        "p": None,
        "chance": None,
        "chance_ci95": None,
        "seeds": 4,
        "left_out": 0,
        "published": 1.8,
        "relation": "at most",
        "tolerance": None,
        "tolerance_source": "",
        "source": "ISLR 10.2",
        "theorem": False,
        "settles": "Dropout helps.",
        "verdict": "holds",
    }
    assert [claim["verdict"] for claim in results["claims"]] == ["holds", "fails", "new", "fails", "holds", "undecided"]
    assert results["versions"].keys() >= {"python", "mlpjax", "jax", "flax", "optax", "numpy"}
    assert isinstance(results["device"], str)
    assert results | {"claims": [], "versions": {}, "device": "", "git": ""} == {
        "experiment": "islr",
        "claims": [],
        "seconds": 412.0,
        "device": "",
        "versions": {},
        "git": "",
        **RUN,
    }


def test_the_values_of_every_seed_are_kept(claims: list[Claim], tmp_path: Path) -> None:
    write_results(tmp_path, "islr", claims, 1.0, RUN)
    table = pd.read_parquet(tmp_path / "values.parquet")
    ridge = table[table["claim"] == "ridge | test error"]
    assert ridge["seed"].tolist() == [0, 2, 3]  # seed 1 is left out
    assert ridge["value"].tolist() == [2.0, 1.9, 2.1]
    gap = table[table["claim"] == "dropout against ridge"]
    assert gap.groupby("row")["value"].apply(list).tolist() == [[1.7, 1.72, 1.68, 1.7], [2.0, 1.9, 2.1]]


def test_two_claims_of_one_name_are_refused(claims: list[Claim], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="islr claims 'dropout test error' twice"):
        write_results(tmp_path, "islr", [*claims, claims[0]], 1.0, RUN)


def test_a_config_that_json_cannot_hold_writes_nothing(claims: list[Claim], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(tmp_path, "islr", claims, 1.0, RUN | {"config": {"rate": math.inf}})
    assert list(tmp_path.iterdir()) == []


def body(seeds: int, quick: bool, out: Path) -> tuple[list[Claim], dict[str, Any]]:
    if seeds == 13:
        raise UserError("13 seeds bring bad luck: give another number")
    (out / "lucky.png").write_bytes(b"")
    half = np.arange(seeds) % 2 == 0
    solved = Claim.share("solved", half, published=50.0, relation="at least", source="[1]")
    return [solved], {"quick": quick}


def run(*argv: str) -> None:
    run_experiment("lucky", "Luck is on our side [1].\n\nExpected: half.", body, 1000, 10, argv, shared="one coin")


def test_experiment_runs_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--out", str(tmp_path))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["command"] == "python experiments/lucky.py --seeds 1000"
    assert (results["quick"], results["config"], results["shared"]) == (False, {"quick": False}, "one coin")
    assert results["claims"][0]["seeds"] == 1000
    assert len(pd.read_parquet(tmp_path / "values.parquet")) == 1000
    printed = capsys.readouterr().out
    assert "50 [46.91, 53.09] %" in printed
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


def test_a_claim_survives_the_file(claims: list[Claim], tmp_path: Path) -> None:
    written = json.loads(write_results(tmp_path, "islr", claims, 1.0, RUN).read_text())["claims"]
    values = by_claim(pd.read_parquet(tmp_path / "values.parquet"))
    for claim, read in zip(claims, written, strict=True):
        again = Claim.from_json(read, values.get(claim.name, np.empty((1, 0))))
        assert again == claim
        assert np.array_equal(again.values, claim.values, equal_nan=True)
        assert read["verdict"] == claim.verdict


def run_on_mnist(*argv: str) -> list[str]:
    """What the body of an experiment on full MNIST is given as its data."""
    given: list[str] = []

    def on_mnist(seeds: int, quick: bool, out: Path, data: str) -> tuple[list[Claim], dict[str, Any]]:
        given.append(data)
        return body(seeds, quick, out)

    run_experiment("digits", "", on_mnist, 1000, 10, argv, needs=MNIST)
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


def test_an_interrupt_is_one_line_and_exit_code_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda number, handler: None)

    def body(*_arguments: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as exit_:
        run_experiment("stopped", "Never done.", body, 2, 2, ["--out", str(tmp_path)])
    assert (exit_.value.code, capsys.readouterr().err) == (130, "\ninterrupted\n")
    assert not list(tmp_path.iterdir())
