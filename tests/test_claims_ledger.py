"""The ledger shows what the results say, and the committed one what the committed results say."""

import json
from pathlib import Path

import pytest

from mlpjax.claims import Claim
from mlpjax.claims.ledger import ledger, main
from mlpjax.claims.runner import write_results

EXPERIMENTS = Path(__file__).parent.parent / "experiments"

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


def test_ledger_is_made_from_the_results() -> None:
    committed = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    assert committed == ledger(EXPERIMENTS / "results"), "run: python -m mlpjax.claims"


def test_every_verdict_follows_from_its_numbers() -> None:
    for file in sorted((EXPERIMENTS / "results").glob("*.json")):
        results = json.loads(file.read_bytes())
        assert results["experiment"] == file.stem
        assert not results["quick"], f"{file.name} is of a quick run"
        for claim in results["claims"]:
            assert claim["verdict"] == Claim.from_json(claim).verdict, (file.name, claim["name"])
