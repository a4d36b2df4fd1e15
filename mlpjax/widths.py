"""One study at many widths: how loss and error depend on the number of hidden units."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd
from rich.console import Console

from mlpjax.data import Dataset, check, load
from mlpjax.errors import UserError
from mlpjax.history import error_metric, summarise_group, tidy
from mlpjax.models import MLP, ActivationName, BiasName, InitializerName, count_parameters
from mlpjax.plumbing.identity import plain
from mlpjax.plumbing.progress import progress_bar
from mlpjax.plumbing.runs import Checkpoints, RunFolder, open_run
from mlpjax.plumbing.terminal import print_table, say_how_to_go_on
from mlpjax.products import PrecisionName
from mlpjax.recipe import Recipe
from mlpjax.report.figures import png, width_curves
from mlpjax.report.tables import METRICS
from mlpjax.sweeps import Swept, sweep
from mlpjax.task import make_task
from mlpjax.train import check_fit

DOUBLE_DESCENT = Recipe(optimizer="momentum", learning_rate=0.01, batch_size=100, epochs=100, eval_every=10)
"""As in the source of the data mnist1d (its notebook on double descent), but with 100 epochs in place of 500."""


@dataclasses.dataclass(frozen=True)
class WidthSweep:
    """Train networks of many widths, each from many seeds, and compare what they reach."""

    data: str = "mnist1d"
    """Data set: mnist5k, xor, mnist1d, idx:DIR (four idx files, such as full MNIST) or tfds:NAME."""
    hidden: tuple[int, ...] = (2, 3, 4, 6, 8, 11, 16, 21, 28, 36, 42, 47, 54, 61, 75, 100, 140, 200, 300)
    """Units of a hidden layer, a network's layers all alike: the widths to compare, in increasing order."""
    layers: int = 2
    """Hidden layers."""
    seeds: int = 30
    """Networks of each width, each from a seed of its own; the seeds are the same for every width."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""
    output_activation: ActivationName = "identity"
    """Activation of the output layer; identity where the loss works on logits."""
    dropout: tuple[float, ...] = (0.0,)
    """Probability, in [0, 1), of dropping a hidden unit: one for all hidden layers, or one for each."""
    initializer: InitializerName = "he"
    """How the weights are drawn, as for a study."""
    scale: float = 1.0
    """Multiplies what the initialiser draws: the constant's value, the normal's deviation, the uniform's bound."""
    bias: BiasName = "zeros"
    """Biases start at zero, are drawn the same way as the weights, or are left out."""
    precision: PrecisionName = "float32"
    """How layers multiply while training: float32, or mixed, as for a study."""
    recipe: Recipe = DOUBLE_DESCENT

    def __post_init__(self) -> None:
        text = " ".join(map(str, self.hidden))
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"hidden {text}: give at least one width, each at least 1")
        for narrow, wide in itertools.pairwise(self.hidden):
            if wide <= narrow:
                raise UserError(f"hidden {text}: give every width once, in increasing order; {wide} follows {narrow}")
        for field in ("layers", "seeds"):
            if getattr(self, field) < 1:
                raise UserError(f"{field} {getattr(self, field)}: must be at least 1")

    def model(self, width: int, dataset: Dataset) -> MLP:
        """The network with hidden layers of one width, for the data's features and outputs."""
        outputs = 1 if self.recipe.loss == "binary_cross_entropy" else dataset.outputs
        return MLP(
            widths=(dataset.features, *[width] * self.layers, outputs),
            activation=self.activation,
            output_activation=self.output_activation,
            dropout=self.dropout,
            initializer=self.initializer,
            scale=self.scale,
            bias=self.bias,
            precision=self.precision,
        )


def run_widths(widths: WidthSweep, out: Path, command: Sequence[str], console: Console) -> dict[str, Any]:
    """Train every width and report; what the folder has already is not trained again.

    Args:
        widths: what to do.
        out: the run's folder.
        command: what the user typed, to say how to go on.
        console: where to say what happens.

    Returns:
        The summary, as in `summary.json`: `seeds`, `seconds` and `widths`, a list that holds for each width what
        `summarise_group` says, with `width` and `parameters`.

    Raises:
        UserError: the data, the networks or the folder cannot be used.
        KeyboardInterrupt: after saving what is done, and saying how to go on.
    """
    dataset = load(widths.data)
    models = [widths.model(width, dataset) for width in widths.hidden]
    for model in models:
        check_fit(model, widths.recipe, make_task(model, widths.recipe, dataset.train), dataset)
    print_table(console, "The data", [], check(dataset).table())
    with say_how_to_go_on(out, command, console), open_run(out, plain(widths)) as run:
        swept = _train(widths, models, dataset, run, console)
        summaries, frames = [], []
        for width, model, trained in zip(widths.hidden, models, swept.trained, strict=True):
            form = jax.eval_shape(model.init, jax.random.key(0)).params
            size = {"width": width, "parameters": sum(count_parameters(form))}
            summaries.append(size | summarise_group(trained))
            frame = tidy(trained, widths.recipe.eval_every)
            frames.append(frame.assign(**size)[[*size, *frame.columns]])
        summary = {
            "seeds": widths.seeds,
            "seconds": sum(group["seconds"] for group in summaries),
            "widths": summaries,
        }
        run.write("widths.parquet", pd.concat(frames, ignore_index=True).to_parquet(index=False))
        run.write("figures/widths.png", png(width_curves(summaries)))
        run.write_json("summary.json", summary)
    _print_summary(console, f"Means over {widths.seeds} seeds on {dataset.name}", summaries)
    console.print(f"The figure: {out / 'figures/widths.png'}", soft_wrap=True)
    return summary


def _train(widths: WidthSweep, models: Sequence[MLP], dataset: Dataset, run: RunFolder, console: Console) -> Swept:
    """Train every width.

    One program for each width: one for all, with narrow networks padded to the widest, saves compiling but gives every
    network the widest one's work, about five times as much in all for the default widths.
    """
    epochs = widths.recipe.eval_every
    with progress_bar(f"{len(models)} widths, {widths.seeds} seeds each", console=console) as on_progress:
        return sweep(
            models[0],
            widths.recipe,
            dataset,
            range(widths.seeds),
            {"widths": [model.widths for model in models]},
            store=lambda name: Checkpoints(run.path / "checkpoints" / name),
            on_progress=lambda done, total: on_progress(done * epochs, total * epochs),
        )


def _print_summary(console: Console, title: str, summaries: Sequence[dict[str, Any]]) -> None:
    """Print the means, a row for each width, and name the seeds that diverged."""
    metric = error_metric(summaries[0])
    error = METRICS[metric]
    header = ["width", "parameters", f"train\n{error}", f"test\n{error}", "95 %\ninterval", "train\nloss", "test\nloss"]
    names = [f"{split}_{name}" for name in (metric, "loss") for split in ("train", "test")]
    rows = []
    for group in summaries:
        means = [f"{figure['mean']:.3g}" if (figure := group[name]) else "diverged" for name in names]
        interval = group[f"test_{metric}"] and group[f"test_{metric}"]["ci95"]
        means.insert(2, "{:.3g} to {:.3g}".format(*interval) if interval else "")
        rows.append([str(group["width"]), f"{group['parameters']:,}", *means])
    print_table(console, title, header, rows)
    for group in summaries:
        if group["diverged"]:
            seeds = ", ".join(map(str, group["diverged"]))
            console.print(f"Width {group['width']}: diverged, and left out of the figures: seeds {seeds}")
