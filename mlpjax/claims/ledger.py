"""The ledger: every experiment's claims on one page, computed from the values of every seed."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tyro

from mlpjax.claims.runner import TOO_FEW
from mlpjax.claims.values import by_claim
from mlpjax.claims.verdict import Claim
from mlpjax.errors import UserError
from mlpjax.plumbing.files import write_atomically

HEAD = """\
# What the experiments found

Made by `python -m mlpjax.claims` from `{results}/`: change the results, never this page. Each figure stands with its
95 % interval over seeds, computed here from the value of every seed (`{results}/NAME.parquet`): of means as
`stats.mean_ci`, of medians from the order statistics, of shares after Wilson. A claim *holds* where the whole interval
agrees with the published figure, *fails* where none of it does, is *undecided* where the interval straddles the line,
and *new* where nothing was published. What is claimed of *every seed* fails by one seed that misses.
"""

MARKS = "<!-- claims: made by make ledger -->", "<!-- end of claims -->"
"""Lines of a page between which the table of claims stands."""


class Results(NamedTuple):
    """What one experiment's files say: the JSON, and the claims computed anew from the values."""

    stated: dict[str, Any]
    claims: list[Claim]


def read_results(file: Path) -> Results:
    """One experiment's results, its claims computed anew.

    Args:
        file: `NAME.json`, with `NAME.parquet` beside it.

    Returns:
        The results.

    Raises:
        UserError: the files are not an experiment's results, or are of a checkout with changes that no commit holds.
    """
    try:
        stated = json.loads(file.read_bytes())
        values = by_claim(pd.read_parquet(file.with_suffix(".parquet")))
        nothing = np.empty((1, 0))
        claims = [Claim.from_json(claim, values.get(claim["name"], nothing)) for claim in stated["claims"]]
        revision = stated["git"] or ""
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file} is not an experiment's results: {error!r}; run the experiment again") from error
    if revision.endswith("-dirty"):
        raise UserError(f"{file} was made from files that no commit holds ({revision}): commit them and run it again")
    return Results(stated, claims)


def read_all(results_dir: Path) -> dict[str, Results]:
    """The results of every experiment, by its name.

    Args:
        results_dir: folder of the experiments' results `NAME.json` and `NAME.parquet`; may be empty.

    Returns:
        The results, in the order of the names.

    Raises:
        UserError: a file there is not an experiment's results, or is of uncommitted files.
    """
    return {file.stem: read_results(file) for file in sorted(results_dir.glob("*.json"))}


def settled(found: dict[str, Results], page: str = "") -> list[str]:
    """The claims that were settled, in plain words, as the lines of a table.

    Args:
        found: from `read_all`.
        page: where the ledger is, seen from the page that holds the table; empty, if it is the same.

    Returns:
        The lines, each linked to its experiment in the ledger.
    """
    return _table(
        ("claim", "published", "measured (95 % interval)", "verdict", "experiment"),
        [
            (claim.settles, *claim.cells()[1:3], _verdict(claim), f"[{name}]({page}#{name})")
            for name, results in found.items()
            for claim in results.claims
            if claim.settles
        ],
    )


def ledger(found: dict[str, Results], results_dir: Path) -> str:
    """The claims of every experiment, what was measured, and the verdicts, as one Markdown page.

    Args:
        found: from `read_all`.
        results_dir: where they are from, with figures `NAME*.png` beside them.

    Returns:
        The page; its links are relative to the folder above `results_dir`.
    """
    page = [HEAD.format(results=results_dir.name), "## What was settled", "", *settled(found), ""]
    page += _count([claim for results in found.values() for claim in results.claims])
    for name, (stated, claims) in found.items():
        page += ["", f"## {name}", "", f"{stated['seconds']:,.0f} s on {stated['device']}: `{stated['command']}`"]
        page += ["", f"**{TOO_FEW}**"] * stated["quick"]
        if shared := stated["shared"]:
            page += ["", f"All seeds share {shared}: the intervals are conditional on it."]
        page += [line for note in stated["config"].get("notes", []) for line in ("", f"Note: {note}")]
        page += [
            "",
            *_table(
                ("claim", "published", "measured (95 % interval)", "seeds", "verdict", "source"),
                [(*claim.cells(), _verdict(claim), _source(claim)) for claim in claims],
            ),
        ]
        page += [
            line
            for figure in sorted(results_dir.glob(f"{name}*.png"))
            # "xor_noise.png" is of the experiment xor_noise, where there is one, and not of xor.
            if name == max((other for other in found if figure.stem.startswith(other)), key=len)
            for line in ("", f"![{figure.stem}]({results_dir.name}/{figure.name})")
        ]
    return "\n".join(page) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _verdict(claim: Claim) -> str:
    return f"**{claim.verdict}**" + " (theorem)" * claim.theorem


def _source(claim: Claim) -> str:
    return "; ".join(filter(None, (claim.source, f"±: {claim.tolerance_source}" if claim.tolerance_source else "")))


def _count(claims: Sequence[Claim]) -> list[str]:
    """How many verdicts there are, and what chance does to so many."""
    findings = Counter(claim.verdict for claim in claims if not claim.theorem)
    theorems = Counter(claim.verdict for claim in claims if claim.theorem)
    decided = findings["holds"] + findings["fails"]
    return [
        f"{findings.total()} figures were found: {findings['holds']} hold, {findings['fails']} fail, "
        f"{findings['undecided']} are undecided, and beside {findings['new']} nothing was published. Checks of a "
        "theorem or an identity are checks of the code and counted apart: "
        f"{theorems['holds']} of {theorems.total()} hold.",
        "",
        "A 95 % interval lies wholly on the wrong side of a figure at its very border in one case of 40. So chance "
        f"explains at most about {decided / 40:.0f} of the {decided} decided verdicts, if all were so near to it. "
        "No verdict is corrected for their number, and the p-value of a difference is of that one comparison.",
    ]


def with_table(text: str, table: Sequence[str]) -> str:
    """The page with the table in place of what stands between the marks.

    Args:
        text: a page with the lines `MARKS`.
        table: the table's lines.

    Returns:
        The page.

    Raises:
        UserError: the marks are not there, or not once each.
    """
    first, last = MARKS
    if text.count(first) != 1 or text.count(last) != 1:
        raise UserError(f"put the lines {first} and {last} where the table of claims shall stand, once each")
    before, rest = text.split(first)
    return "\n".join([before + first, *table, last + rest.split(last)[1]])


def main(results_dir: tyro.conf.Positional[Path] = Path("experiments/results"), *, readme: Path | None = None) -> None:
    """Write the ledger README.md beside the folder of the experiments' results.

    Args:
        results_dir: folder of the results, NAME.json, NAME.parquet and NAME*.png.
        readme: a page in the folder above, which gets the table of what was settled between its marks as well.
    """
    place = results_dir.parent / "README.md"
    try:
        found = read_all(results_dir)
        page = ledger(found, results_dir)
        write_atomically(place, lambda file: file.write(page.encode()))
        if readme is not None:
            table = settled(found, f"{place.parent.name}/{place.name}")
            text = with_table(readme.read_text(encoding="utf-8"), table)
            write_atomically(readme, lambda file: file.write(text.encode()))
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
