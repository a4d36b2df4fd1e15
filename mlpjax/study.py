"""The main job: a configuration, trained seeds, what the landscape looks like, a report."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mlpjax import findings
from mlpjax.configuration import Configuration
from mlpjax.data import Dataset, check
from mlpjax.diagnosis import exploded, lose_exploded
from mlpjax.errors import UserError
from mlpjax.findings.subject import Subject
from mlpjax.history import summarise_group
from mlpjax.plumbing.environment import environment
from mlpjax.plumbing.identity import plain
from mlpjax.plumbing.processes import ALONE, Group
from mlpjax.plumbing.progress import progress_bar
from mlpjax.plumbing.runs import RunFolder, open_run
from mlpjax.plumbing.terminal import print_table, say_how_to_go_on
from mlpjax.report.figures import sample_sheet
from mlpjax.report.page import Picture
from mlpjax.report.study_page import study_page
from mlpjax.report.tables import SUMMARY_HEADER, summary_rows
from mlpjax.report.words import counted
from mlpjax.seeds import Trained, train_many
from mlpjax.trackers import TrackerName, tracking
from mlpjax.train import check_fit


@dataclasses.dataclass(frozen=True)
class Study(Configuration):
    """Train one network from many seeds, look at the landscape they end in, and write a report."""

    controls: int = 4
    """Networks that start with all parameters zero, as a control group; 0 for none."""
    grid: int = 25
    """Points along each side of the loss surface; an odd number, so that the network is in the middle."""
    landscape: bool = True
    """Look at the loss landscape that the networks ended in; without it a study takes a fraction of the time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, low in (("controls", 0), ("grid", 3)):
            if getattr(self, field) < low:
                raise UserError(f"{field} {getattr(self, field)}: must be at least {low}")
        if self.grid % 2 == 0:
            raise UserError(f"grid {self.grid}: must be odd, to have the network in the middle; give {self.grid + 1}")

    @property
    def control_seeds(self) -> range:
        """The seeds of the control group, the first of the same ones."""
        return range(self.first_seed, self.first_seed + self.controls)


def run_study(
    study: Study,
    out: Path,
    command: Sequence[str],
    console: Console,
    processes: Group = ALONE,
    trackers: Sequence[TrackerName] = (),
) -> dict[str, Any] | None:
    """Train, look and report; what the folder has already is not done again.

    Args:
        study: what to do.
        out: the run's folder.
        command: what the user typed, for the report and to say how to go on.
        console: where to say what happens.
        processes: they train the networks together; process 0 alone looks and reports.
        trackers: where process 0 also sends the curves of training.

    Returns:
        The summary, as in `summary.json`; None in the other processes.

    Raises:
        UserError: the data, the network or the folder cannot be used.
        KeyboardInterrupt: after saving what is done, and saying how to go on.
    """
    dataset = study.load()
    study = study.fitted(dataset)
    check_fit(study.model, study.recipe, study.make_task(study.model, study.recipe, dataset.train), dataset)
    facts = check(dataset).table()
    print_table(console, "The data", [], facts)
    with say_how_to_go_on(out, command, console), open_run(out, plain(study), processes) as run:
        if processes.index:
            _train(study, dataset, run, console, processes, ())
            return None
        if dataset.class_names:
            run.write_json("classes.json", dict(enumerate(dataset.class_names)))
        samples = None
        if dataset.classes is not None:
            sheet = sample_sheet(dataset)
            samples = Picture("samples", "Samples", sheet, "Training examples of every class.", "Training examples")
            run.write("figures/samples.png", samples.png)
            console.print(f"Samples of it: {out / 'figures/samples.png'}\n", soft_wrap=True)
        trained = _train(study, dataset, run, console, processes, trackers)
        subject = Subject(
            study.model,
            study.recipe,
            dataset,
            **trained,
            freeze=study.freeze,
            make_task=study.make_task,
            grid=study.grid,
            folder=run.path / "checkpoints" / "findings",
        )
        found = findings.find(subject, partial(progress_bar, console=console), study.landscape)
        summary = _summarise(trained) | findings.summarise(found)
        metrics = {group: networks.to_frame() for group, networks in trained.items()}
        for group, frame in metrics.items():
            name = {"random": "metrics", "zero": "controls"}[group]
            run.write(f"{name}.parquet", frame.to_parquet(index=False))
        with console.status("Drawing the report"):
            page, pictures = study_page(
                settings=plain(study),
                network=study.model.name,
                environment=environment(),
                command=shlex.join(command),
                dataset=dataset,
                facts=facts,
                samples=samples,
                metrics=metrics,
                summary=summary,
                opening=findings.sections(found, opening=True),
                sections=findings.sections(found, opening=False),
                tiles=findings.tiles(found),
            )
        for name, content in pictures.items():
            run.write(f"figures/{name}", content)
        run.write("report.html", page.encode())
        run.write_json("summary.json", summary)
    _print_summary(console, f"{study.model.name}, {counted(study.seeds, 'seed')} on {dataset.name}", summary)
    for line in findings.lines(found):
        console.print(line)
    console.print(f"The report: {out / 'report.html'}", soft_wrap=True)
    return summary


def _train(
    study: Study,
    dataset: Dataset,
    run: RunFolder,
    console: Console,
    processes: Group,
    trackers: Sequence[TrackerName],
) -> dict[str, Trained]:
    """Train both groups as one; a control is the same program with its initial draw multiplied by zero."""
    every = study.recipe.eval_every
    with (
        tracking(trackers, run.path, plain(study), study.random_seeds, every) as curves,
        progress_bar(f"{study.seeds} random and {study.controls} all-zero starts", console=console) as on_progress,
    ):
        networks = train_many(
            study.model,
            study.recipe,
            dataset,
            [*study.random_seeds, *study.control_seeds],
            sweep={"scale": np.repeat([study.model.scale, 0.0], [study.seeds, study.controls])},
            freeze=study.freeze,
            task=study.make_task,
            stop=exploded,
            chunk=study.chunk,
            memory_budget=study.memory_budget,
            store=run.checkpoints(),
            group=processes,
            on_progress=on_progress,
            on_history=curves.on_history if trackers else None,
        )
        networks = lose_exploded(networks, every)
        groups = {"random": networks.select(slice(study.seeds))}
        curves.finish(groups["random"])
    if study.controls:
        groups["zero"] = networks.select(slice(study.seeds, None))
    return groups


def _summarise(trained: Mapping[str, Trained]) -> dict[str, Any]:
    """The random group's final figures, the control group's beside them, and the time that both took."""
    groups = {name: summarise_group(group) for name, group in trained.items()}
    seconds = sum(group["seconds"] for group in groups.values())
    return groups["random"] | {"seconds": seconds, "controls": groups.get("zero")}


def _print_summary(console: Console, title: str, summary: Mapping[str, Any]) -> None:
    """Print the figures of both groups, and name the seeds that diverged."""
    print_table(console, title, SUMMARY_HEADER, summary_rows(summary))
    if summary["controls"]:
        title = f"The control group, started at zero: {counted(summary['controls']['seeds'], 'seed')}"
        print_table(console, title, SUMMARY_HEADER, summary_rows(summary["controls"]))
    if summary["diverged"]:
        console.print(f"Diverged, and left out of the figures: seeds {', '.join(map(str, summary['diverged']))}")
