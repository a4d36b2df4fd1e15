"""The ledger shows what the results say, and the committed one what the committed results say."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlpjax.claims import Claim
from mlpjax.claims.ledger import MARKS, ledger, main, read_all, read_results, settled, with_table
from mlpjax.claims.runner import write_results
from mlpjax.errors import UserError

EXPERIMENTS = Path(__file__).parent.parent / "experiments"

RUN = {"shared": "one split", "config": {"notes": ["2 of 3 before, 1 of 3 now."]}}


@pytest.fixture
def results_dir(claims: list[Claim], tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    for name, quick in (("islr", False), ("islr_wide", True)):
        run = RUN | {"quick": quick, "command": f"python experiments/{name}.py"}
        file = write_results(tmp_path, name, claims, 1234.0, run)
        stated = json.loads(file.read_text()) | {"git": "b942a0a"}
        (folder / f"{name}.json").write_text(json.dumps(stated))
        (tmp_path / "values.parquet").rename(folder / f"{name}.parquet")
    for name in ("islr", "islr_wide", "islr_curves"):
        (folder / f"{name}.png").touch()
    return folder


def page_of(folder: Path) -> str:
    return ledger(read_all(folder), folder)


def test_ledger_shows_every_claim_and_each_figure_once(results_dir: Path) -> None:
    head, rest = page_of(results_dir).split("## islr\n")
    narrow, wide = rest.split("## islr_wide\n")
    # By hand: sd 0.016330, n = 4, 5.58 standard errors.
    assert "| Dropout helps. | ≤ 1.8 % | 1.7 [1.654, 1.746] % | **holds** | [islr](#islr) |" in head
    assert "| dropout test error | ≤ 1.8 % | 1.7 [1.654, 1.746] % | 4 | **holds** | ISLR 10.2 |" in narrow
    ridge = "| ridge \\| test error | ≈ 3.3 ± 0.1 % | 2 [1.533, 2.467] % | 3 of 4 | **fails** | ISLR 10.2; ±: ours |"
    assert ridge in narrow
    assert "| parameters |  | 235,146 |  | **new** |  |" in narrow
    assert "| networks that learn | every seed | 97.5 [87.12, 99.56] % | 40 | **fails** | ISLR 10.2 |" in narrow
    assert "| **holds** (theorem) |" in narrow
    assert "1,234 s on " in narrow
    assert "`python experiments/islr.py`" in narrow
    assert "All seeds share one split" in narrow
    assert "Note: 2 of 3 before, 1 of 3 now." in narrow
    assert "(results/islr.png)" in narrow
    assert "(results/islr_curves.png)" in narrow
    assert (head + rest).count("islr_wide.png") == wide.count("(results/islr_wide.png)") == 1
    assert "A quick run" in wide
    assert "A quick run" not in narrow


def test_ledger_counts_findings_and_theorems_apart(results_dir: Path) -> None:
    head = page_of(results_dir).split("## islr\n")[0]
    assert "10 figures were found: 2 hold, 4 fail, 2 are undecided, and beside 2 nothing" in head
    assert "counted apart: 2 of 2 hold." in head
    assert "at most about 0 of the 6 decided verdicts" in head


def test_ledger_computes_figures_from_the_values_and_trusts_none(results_dir: Path) -> None:
    file = results_dir / "islr.json"
    stated = json.loads(file.read_text())
    for claim in stated["claims"]:
        claim |= {"measured": 0.0, "ci95": [0.0, 0.0], "verdict": "holds"}
    before = page_of(results_dir)
    file.write_text(json.dumps(stated))
    assert page_of(results_dir) == before


def test_results_of_uncommitted_files_are_refused(results_dir: Path) -> None:
    file = results_dir / "islr.json"
    file.write_text(file.read_text().replace("b942a0a", "b942a0a-dirty"))
    with pytest.raises(UserError, match=r"islr.json was made from files that no commit holds"):
        page_of(results_dir)


def test_ledger_of_nothing(tmp_path: Path) -> None:
    assert page_of(tmp_path / "absent").startswith("# What the experiments found")


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
    assert (results_dir.parent / "README.md").read_text(encoding="utf-8") == page_of(results_dir)


def test_the_table_goes_between_the_marks_of_a_page(results_dir: Path, tmp_path: Path) -> None:
    readme = tmp_path / "page.md"
    readme.write_text("Before.\n\n{}\nold\n{}\n\nAfter.\n".format(*MARKS))
    table = "\n".join(settled(read_all(results_dir), f"{tmp_path.name}/README.md"))
    assert "| Dropout helps. | ≤ 1.8 % |" in table
    assert f"({tmp_path.name}/README.md#islr) |" in table
    for _ in range(2):  # again changes nothing
        main(results_dir, readme=readme)
        assert readme.read_text() == f"Before.\n\n{MARKS[0]}\n{table}\n{MARKS[1]}\n\nAfter.\n"


@pytest.mark.parametrize("text", ["", MARKS[0], "{0}\n{1}\n{1}".format(*MARKS)])
def test_a_page_without_marks_is_left_alone(text: str, results_dir: Path, tmp_path: Path, capsys: Any) -> None:
    readme = tmp_path / "page.md"
    readme.write_text(text)
    with pytest.raises(SystemExit) as exit_:
        main(results_dir, readme=readme)
    assert exit_.value.code == 2
    assert "put the lines" in capsys.readouterr().err
    assert readme.read_text() == text


def test_ledger_is_made_from_the_results() -> None:
    committed = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    found = read_all(EXPERIMENTS / "results")
    assert committed == ledger(found, EXPERIMENTS / "results"), "run: make ledger"
    readme = (EXPERIMENTS.parent / "README.md").read_text(encoding="utf-8")
    table = settled(found, "experiments/README.md")
    assert readme == with_table(readme, table), "run: make ledger"


def test_what_the_results_state_follows_from_their_values() -> None:
    for file in sorted((EXPERIMENTS / "results").glob("*.json")):
        stated, claims = read_results(file)
        assert stated["experiment"] == file.stem
        assert not stated["quick"], f"{file.name} is of a quick run"
        for claim, expected in zip(claims, stated["claims"], strict=True):
            assert claim.verdict == expected["verdict"], (file.name, claim.name)
            assert claim.measured == pytest.approx(expected["measured"]), (file.name, claim.name)
            assert claim.ci95 == (expected["ci95"] and pytest.approx(expected["ci95"])), (file.name, claim.name)
