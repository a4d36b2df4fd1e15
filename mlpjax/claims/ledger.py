"""The ledger: every experiment's claims on one page, made from the committed results."""

import json
import sys
from pathlib import Path

import tyro

from mlpjax.claims.runner import TOO_FEW
from mlpjax.claims.verdict import Claim
from mlpjax.errors import UserError
from mlpjax.plumbing.files import write_atomically


def ledger(results_dir: Path) -> str:
    """The claims of every experiment, what was measured, and the verdicts, as one Markdown page.

    Args:
        results_dir: folder of the experiments' results `NAME.json` and figures `NAME*.png`; may be empty.

    Returns:
        The page; its links are relative to the folder above `results_dir`.

    Raises:
        UserError: a file there is not an experiment's results.
    """
    page = [
        "# What the experiments found",
        "",
        f"Made by `python -m mlpjax.claims` from `{results_dir.name}/`: change the results, never this page.",
        "Each figure stands with its 95 % interval over seeds. A claim *holds* where the whole interval",
        "agrees with the published figure, *fails* where none of it does, is *undecided* where the interval",
        "straddles the line, and *new* where nothing was published.",
    ]
    names = sorted(file.stem for file in results_dir.glob("*.json"))
    for name in names:
        file = results_dir / f"{name}.json"
        try:
            results = json.loads(file.read_bytes())
            claims = [Claim.from_json(stated) for stated in results["claims"]]
            facts = f"{results['seconds']:,.0f} s on {results['device']}: `{results['command']}`"
            quick = ["", f"**{TOO_FEW}**"] if results["quick"] else []
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{file} is not an experiment's results: {error!r}; run the experiment again") from error
        page += ["", f"## {name}", "", facts, *quick, ""]
        page += [
            "| claim | published | measured (95 % interval) | seeds | verdict | source |",
            "|---|---|---|---|---|---|",
        ]
        for claim in claims:
            cells = (*claim.cells(), f"**{claim.verdict}**", claim.source)
            page.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        page += [
            line
            for figure in sorted(results_dir.glob(f"{name}*.png"))
            # "xor_noise.png" is of the experiment xor_noise, where there is one, and not of xor.
            if name == max((n for n in names if figure.stem.startswith(n)), key=len)
            for line in ("", f"![{figure.stem}]({results_dir.name}/{figure.name})")
        ]
    return "\n".join(page) + "\n"


def main(results_dir: tyro.conf.Positional[Path] = Path("experiments/results")) -> None:
    """Write the ledger README.md beside the folder of the experiments' results.

    Args:
        results_dir: folder of the results, NAME.json and NAME*.png.
    """
    try:
        page = ledger(results_dir)
        write_atomically(results_dir.parent / "README.md", lambda file: file.write(page.encode()))
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
