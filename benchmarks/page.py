"""Make the tables of benchmarks/README.md and the figures from benchmarks/results/.

Command: python benchmarks/page.py
"""

import json
import re
import sys
from collections.abc import Mapping
from operator import methodcaller
from pathlib import Path
from typing import Any

import matplotlib as mpl
import tyro
from common import HEADER, QUICK, RESULTS, Row, cells
from matplotlib.figure import Figure

from mlpjax import UserError
from mlpjax.plumbing.files import write_atomically
from mlpjax.report.figures import BLUE, STYLE, VERMILLION, png

FOLDER = Path(__file__).parent
PAGE = FOLDER / "README.md"
FIGURES = FOLDER / "figures"
MISSING = "Not measured yet."


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """The results by the name of their benchmark."""
    return {file.stem: json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))}


def markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table; figures stand to the right."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return ["| " + " | ".join(line) + " |" for line in (header, ruler, *rows)]


def section(name: str, results: Mapping[str, dict[str, Any]]) -> str:
    """What the page says of one benchmark: where it was measured, its table, its figure."""
    if name not in results:
        return MISSING
    found = results[name]
    machine, config = found["machine"], found["config"]
    yardstick = machine["yardstick"]
    versions = ", ".join(f"{package} {version}" for package, version in found["versions"].items())
    range_ = f"{yardstick['median']:.0f} ({yardstick['min']:.0f} to {yardstick['max']:.0f}) {yardstick['unit']}"
    lines = [
        f"{machine['device']}; yardstick, median and range over the run: {range_}. {versions}. "
        f"Data: {found['data']}, {config['examples']:,} examples; rounds: {config['rounds']}; "
        f"{found['seconds'] / 60:.0f} minutes.",
        "",
        *markdown_table(HEADER, [cells(Row.from_json(row)) for row in found["rows"]]),
    ]
    if found["quick"]:
        lines = [f"**{QUICK}**", "", *lines]
    if skipped := config.get("skipped"):
        lines += ["", *(f"Skipped: {what}: {why}" for what, why in skipped.items())]
    if name in DRAWINGS:
        lines += ["", f"![{name}](figures/{name}.png)"]
    return "\n".join(lines)


def fill(page: str, results: Mapping[str, dict[str, Any]]) -> str:
    """The page with everything between `<!-- NAME -->` and `<!-- end of NAME -->` made anew.

    Raises:
        UserError: results that the page has no place for.
    """
    names = re.findall(r"<!-- end of (\w+) -->", page)
    if unplaced := sorted(results.keys() - names):
        raise UserError(f"{PAGE.name} has no <!-- end of {unplaced[0]} -->; add it, with its beginning")
    for name in names:
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{section(name, results)}\n\n{end}{rest.partition(end)[2]}"
    return page


@mpl.rc_context(STYLE)
def draw_peers(found: Mapping[str, Any]) -> Figure:
    """How many times as fast as each peer, with what was wanted."""
    rows = [row for row in found["rows"] if row["ratio"] and row["unit"] == "s per seed-epoch"]
    jobs = [row["name"].split(",")[0] for row in rows]
    peers = [row["name"].split("against ")[1] for row in rows]
    places = list(dict.fromkeys(peers))
    figure = Figure(figsize=(12, 0.55 * len(places) + 2))
    axes = figure.subplots()
    for job, colour, shift in zip(dict.fromkeys(jobs), (BLUE, VERMILLION), (-0.2, 0.2), strict=True):
        own = [(row, places.index(peer) + shift) for row, of, peer in zip(rows, jobs, peers, strict=True) if of == job]
        ratios, middles = [row["ratio"] for row, _ in own], [middle for _, middle in own]
        axes.barh(middles, [ratio - 1 for ratio in ratios], 0.4, left=1, color=colour, label=job)
        for ratio, middle in zip(ratios, middles, strict=True):
            axes.text(1.01, middle, f"{ratio:.1f}", transform=axes.get_yaxis_transform(), va="center", color=colour)
        for row, middle in own:
            if row["wanted"]:
                axes.vlines(row["wanted"], middle - 0.2, middle + 0.2, color="black", lw=4)
    axes.plot([], [], color="black", lw=4, label="wanted")
    axes.set(xscale="log", xticks=(ticks := [0.5, 1, 2, 3, 4, 5, 10, 20]), xticklabels=[f"{tick:g}" for tick in ticks])
    axes.set(yticks=range(len(places)), yticklabels=places, xlabel="times as fast per seed-epoch, training alone")
    axes.minorticks_off()
    axes.axvline(1, color="black", lw=1)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def draw_scaling(found: Mapping[str, Any]) -> Figure:
    """Time per seed, and peak memory, against the number of seeds."""
    figure = Figure(figsize=(12, 5))
    time, memory = figure.subplots(1, 2)
    curves = found["config"]["curves"].items()
    for (problem, curve), colour, marker in zip(curves, (BLUE, VERMILLION), "o^", strict=True):
        time.plot(curve["seeds"], curve["seconds"], marker=marker, color=colour, label=problem)
        memory.plot(curve["seeds"], curve["peak"], marker=marker, color=colour)
    for row in found["rows"]:
        if row["unit"] == "GB" and row["wanted"]:
            memory.axhline(row["wanted"], color="black", ls="--", label=f"wanted: at most {row['wanted']:g} GB")
    time.set(xscale="log", yscale="log", xlabel="seeds", ylabel="time per seed (s)")
    memory.set(xscale="log", yscale="log", xlabel="seeds", ylabel="peak resident memory (GB)")
    memory.set(yticks=(ticks := [0.25, 0.5, 1, 2, 4]), yticklabels=[f"{tick:g}" for tick in ticks])
    memory.tick_params(axis="y", which="minor", left=False, labelleft=False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def draw_roofline(found: Mapping[str, Any]) -> Figure:
    """Shares of the machine's own rate, with what was wanted."""
    rows = [row for row in found["rows"] if row["unit"] == "GFLOP/s"]
    figure = Figure(figsize=(10, 0.7 * len(rows) + 1.6))
    axes = figure.subplots()
    axes.barh([row["name"].split(":")[0] for row in rows], [row["ratio"] for row in rows], 0.6, color=BLUE)
    for place, row in enumerate(rows):
        axes.text(row["ratio"] - 0.01, place, f"{row['ratio']:.2f}", va="center", ha="right", color="white")
        axes.vlines(row["wanted"], place - 0.3, place + 0.3, color="black", lw=4)
    axes.plot([], [], color="black", lw=4, label="wanted")
    axes.set(xlim=(0, 1), xlabel="share of the rate of a large matrix product")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center")
    return figure


@mpl.rc_context(STYLE)
def draw_jit(found: Mapping[str, Any]) -> Figure:
    """Time of a step and network, from no jit to a compiled epoch of many seeds."""
    rows = [row for row in found["rows"] if row["unit"] == "µs per seed-step"]
    times = {}
    for row in rows:
        own, other = row["name"].split(" against ")
        times |= {other: row["peer"], own: row["ours"]}
    ways = sorted(times, key=lambda way: -times[way])
    figure = Figure(figsize=(10, 0.7 * len(ways) + 1.2))
    axes = figure.subplots()
    axes.barh(ways, [times[way] for way in ways], 0.6, color=BLUE)
    for place, way in enumerate(ways):
        axes.text(1.08 * times[way], place, f"{times[way]:,.0f}", va="center")
    axes.set(xscale="log", xlim=(100, 3 * max(times.values())), xlabel="µs per step of one network")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    return figure


DRAWINGS = {"against_peers": draw_peers, "jit_speed": draw_jit, "roofline": draw_roofline, "scaling": draw_scaling}


def main(results: Path = RESULTS) -> None:
    """Make the tables of benchmarks/README.md and the figures from the results.

    Args:
        results: Folder of the results, NAME.json.
    """
    try:
        found = read_results(results)
        page = fill(PAGE.read_text(encoding="utf-8"), found)
        FIGURES.mkdir(exist_ok=True)
        for name in DRAWINGS.keys() & found.keys():
            picture = png(DRAWINGS[name](found[name]))
            write_atomically(FIGURES / f"{name}.png", methodcaller("write", picture))
        write_atomically(PAGE, lambda file: file.write(page.encode()))
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    tyro.cli(main)
