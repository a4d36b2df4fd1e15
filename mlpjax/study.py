"""The main job: a configuration, trained seeds, what the landscape looks like, a report."""

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from mlpjax.data import Dataset, check, load
from mlpjax.errors import UserError
from mlpjax.findings import Findings, find
from mlpjax.landscape.minima import Kind
from mlpjax.models import MLP
from mlpjax.plumbing.environment import environment
from mlpjax.plumbing.processes import ALONE, Group
from mlpjax.plumbing.progress import progress_bar
from mlpjax.plumbing.runs import RunFolder, open_run
from mlpjax.recipe import Recipe
from mlpjax.report.figures import png, sample_sheet
from mlpjax.report.landscape_page import SUMMARY_HEADER
from mlpjax.report.study_page import study_page, summary_rows
from mlpjax.seeds import Trained, train_many
from mlpjax.stats import summarise
from mlpjax.train import check_fit


@dataclasses.dataclass(frozen=True)
class Study:
    """Train one network from many seeds, look at the landscape they end in, and write a report."""

    data: str = "mnist5k"
    """Data set: mnist5k, xor, mnist1d, idx:DIR (four idx files, such as full MNIST) or tfds:NAME."""
    seeds: int = 64
    """Networks that start at random, each from a seed of its own."""
    first_seed: int = 0
    """The first of these seeds; the others follow it."""
    controls: int = 4
    """Networks that start with all parameters zero, as a control group; 0 for none."""
    freeze: tuple[Literal["init", "order", "dropout", "sample"], ...] = ()
    """What chance decides alike for all seeds: init (weights), order (of examples), dropout, sample (of examples)."""
    chunk: int | None = None
    """Networks trained side by side on each core or device; None: as many as its cache holds. It changes the speed, not
    the figures."""
    grid: int = 25
    """Points along each side of the loss surface; an odd number, so that the network is in the middle."""
    model: MLP = dataclasses.field(default_factory=MLP)
    recipe: Recipe = dataclasses.field(default_factory=Recipe)

    def __post_init__(self) -> None:
        for field, low in (("seeds", 1), ("first_seed", 0), ("controls", 0), ("grid", 3)):
            if getattr(self, field) < low:
                raise UserError(f"{field} {getattr(self, field)}: must be at least {low}")
        if self.grid % 2 == 0:
            raise UserError(f"grid {self.grid}: must be odd, to have the network in the middle; give {self.grid + 1}")

    @property
    def random_seeds(self) -> range:
        """The seeds of the networks that start at random."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def control_seeds(self) -> range:
        """The seeds of the control group, the first of the same ones."""
        return range(self.first_seed, self.first_seed + self.controls)


def default_folder(command: str, config: Any) -> Path:
    """The run's folder where none is named: one for each configuration, so that the same command goes on.

    Args:
        command: "study" or "widths".
        config: its configuration, a dataclass with a field `data`.
    """
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(config), sort_keys=True).encode()).hexdigest()
    name = "".join(c if c.isalnum() or c == "-" else "-" for c in config.data).strip("-")
    return Path("runs") / f"{command}-{name}-{digest[:8]}"


@contextmanager
def say_how_to_go_on(out: Path, command: Sequence[str], console: Console) -> Iterator[None]:
    """Where Ctrl-C ends what is inside, say that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(
            f"\nInterrupted. What is done is saved in {out}; to go on, give the same command:", soft_wrap=True
        )
        console.print(f"  {shlex.join(command)}", soft_wrap=True)
        raise


def tidy(trained: Trained, eval_every: int) -> pd.DataFrame:
    """The history as one row per figure.

    Args:
        trained: many networks.
        eval_every: epochs between two evaluations.

    Returns:
        Columns seed, epoch, split (train, valid, test; empty for what has none), metric (loss, accuracy as a share,
        grad_norm averaged over the epoch's last period, seconds of the period) and value.
    """
    frames = []
    for name, values in trained.history.items():
        split, _, metric = name.partition("_") if not name.startswith(("grad", "seconds")) else ("", "", name)
        evaluations = values.shape[1]
        frames.append(
            pd.DataFrame(
                {
                    "seed": trained.seeds.repeat(evaluations),
                    "epoch": [eval_every * i for i in range(evaluations)] * len(trained.seeds),
                    "split": split,
                    "metric": metric,
                    "value": values.ravel().astype(float),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def summarise_group(trained: Trained) -> dict[str, Any]:
    """Final figures of one group over its networks: losses in nats or squared error, errors in %.

    Networks that diverged are named and left out of the figures; these are None where none is left.
    """
    finals: dict[str, Any] = {}
    kept = ~trained.diverged
    for split in ("train", "valid", "test"):
        if f"{split}_loss" in trained.history:
            finals[f"{split}_loss"] = trained.history[f"{split}_loss"][kept, -1]
            finals[f"{split}_error"] = 100 * (1 - trained.history[f"{split}_accuracy"][kept, -1].astype(float))
    return {
        "seeds": len(trained.seeds),
        "diverged": trained.seeds[trained.diverged].tolist(),
        "seconds": float(trained.history["seconds"].sum()),
    } | {name: summarise(values) if kept.any() else None for name, values in finals.items()}


def summarise_study(trained: Mapping[str, Trained], findings: Findings) -> dict[str, Any]:
    """What `summary.json` holds: the random group's figures, the control group's, and the landscape's."""
    groups = {name: summarise_group(group) for name, group in trained.items()}
    for name, units in findings.units.items():
        groups[name]["distinct_units"] = {
            f"layer {layer + 1}": summarise(distinct) for layer, distinct in enumerate(units.distinct.T)
        }
    summary = groups["random"]
    summary["seconds"] = sum(group["seconds"] for group in groups.values())
    summary["controls"] = groups.get("zero")
    summary["surface"] = (surface := findings.surface) and {
        "seed": surface.seed,
        "cosine_of_directions": float(surface.health.cosines[0, 1]),
        "curvature": surface.health.curvature.tolist(),
        "curvature_read_off": surface.health.read_off.tolist(),
    }
    summary["trajectory"] = (trajectory := findings.trajectory) and {
        "seed": trajectory.seed,
        "variance_explained": trajectory.explained.tolist(),
        "of_a_random_walk": trajectory.random_walk.tolist(),
        "largest_difference_of_loss": float(np.abs(trajectory.track.losses - trajectory.track.projected_losses).max()),
    }
    summary["curvature"] = (spectra := findings.spectra) and {
        "largest_eigenvalue": summarise(spectra.values[:, 0]),
        "smallest_eigenvalue": summarise(spectra.values[:, -1]),
        "residual": summarise(spectra.residuals.max(axis=1)),
        "gradient_norm": summarise(spectra.gradient_norm),
    }
    summary["barriers"] = (barriers := findings.barriers) and {
        "pairs": len(barriers.seeds),
        "before": summarise(barriers.barrier_before),
        "after": summarise(barriers.barrier_after),
    }
    summary["endings"] = (endings := findings.endings) and {
        "different": len(endings.entries),
        "kinds": {kind.name.lower(): int(np.sum(endings.kind == kind)) for kind in Kind},
        "disagreement": endings.disagreement,
    }
    return summary


def run_study(
    study: Study, out: Path, command: Sequence[str], console: Console, processes: Group = ALONE
) -> dict[str, Any] | None:
    """Train, look and report; what the folder has already is not done again.

    Args:
        study: what to do.
        out: the run's folder.
        command: what the user typed, for the report and to say how to go on.
        console: where to say what happens.
        processes: they train the networks together; process 0 alone looks and reports.

    Returns:
        The summary, as in `summary.json`; None in the other processes.

    Raises:
        UserError: the data, the network or the folder cannot be used.
        KeyboardInterrupt: after saving what is done, and saying how to go on.
    """
    dataset = load(study.data)
    check_fit(study.model, study.recipe, dataset)
    facts = check(dataset).table()
    print_table(console, "The data", [], facts)
    with say_how_to_go_on(out, command, console), open_run(out, dataclasses.asdict(study), processes) as run:
        if processes.index:
            _train(study, dataset, run, console, processes)
            return None
        sheet = png(sample_sheet(dataset))
        run.write("figures/samples.png", sheet)
        console.print(f"Samples of it: {out / 'figures/samples.png'}\n", soft_wrap=True)
        trained = _train(study, dataset, run, console, processes)
        watch = partial(progress_bar, console=console)
        findings = find(study.model, study.recipe, dataset, trained, study.freeze, study.grid, watch)
        summary = summarise_study(trained, findings)
        metrics = {group: tidy(networks, study.recipe.eval_every) for group, networks in trained.items()}
        for group, frame in metrics.items():
            name = {"random": "metrics", "zero": "controls"}[group]
            run.write(f"{name}.parquet", frame.to_parquet(index=False))
        with console.status("Drawing the report"):
            page, pictures = study_page(
                settings=dataclasses.asdict(study),
                environment=environment(),
                command=shlex.join(command),
                dataset=dataset,
                facts=facts,
                sheet=sheet,
                trained=trained,
                metrics=metrics,
                summary=summary,
                findings=findings,
            )
        for name, picture in pictures.items():
            run.write(f"figures/{name}.png", picture)
        run.write("report.html", page.encode())
        run.write_json("summary.json", summary)
    _print_summary(console, f"{study.model.name}, {study.seeds} seeds on {dataset.name}", summary)
    console.print(f"The report: {out / 'report.html'}", soft_wrap=True)
    return summary


def _train(study: Study, dataset: Dataset, run: RunFolder, console: Console, processes: Group) -> dict[str, Trained]:
    """Train both groups as one; a control is the same program with its initial draw multiplied by zero."""
    with progress_bar(f"{study.seeds} random and {study.controls} all-zero starts", console=console) as on_progress:
        networks = train_many(
            study.model,
            study.recipe,
            dataset,
            [*study.random_seeds, *study.control_seeds],
            sweep={"scale": np.repeat([study.model.scale, 0.0], [study.seeds, study.controls])},
            freeze=study.freeze,
            chunk=study.chunk,
            store=run.checkpoints(),
            group=processes,
            on_progress=on_progress,
        )
    groups = {"random": networks.select(slice(study.seeds))}
    if study.controls:
        groups["zero"] = networks.select(slice(study.seeds, None))
    return groups


def _print_summary(console: Console, title: str, summary: Mapping[str, Any]) -> None:
    """Print the figures of both groups, and name the seeds that diverged."""
    print_table(console, title, SUMMARY_HEADER, summary_rows(summary))
    if summary["controls"]:
        title = f"The control group, started at zero: {summary['controls']['seeds']} seeds"
        print_table(console, title, SUMMARY_HEADER, summary_rows(summary["controls"]))
    if summary["diverged"]:
        console.print(f"Diverged, and left out of the figures: seeds {', '.join(map(str, summary['diverged']))}")


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, with a header or without."""
    table = Table(title=title, title_justify="left", show_header=bool(header))
    for column in header or rows[0]:
        table.add_column(column if header else "")
    for row in rows:
        table.add_row(*row)
    console.print(table)
