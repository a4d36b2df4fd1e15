"""The committed ledger is what the committed results say."""

import json
from pathlib import Path

from mlpjax.claims import Claim, ledger

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


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
