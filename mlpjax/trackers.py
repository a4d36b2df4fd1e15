"""Progress as people watch it: the curves of a training, as they come, in TensorBoard or Weights & Biases."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from mlpjax.errors import UserError
from mlpjax.events import EVENTS
from mlpjax.seeds import Trained, parts
from mlpjax.stats import mean_band

TrackerName = Literal["tensorboard", "wandb"]
CURVES = 64
"""Networks that have a curve of their own, the first ones: no page shows more of them."""


@runtime_checkable
class Tracker(Protocol):
    """Where curves go; they come again, from the start, when a run goes on or is repeated."""

    def log(self, curve: str, epoch: int, figures: Mapping[str, float]) -> None:
        """Add a point to the curves of one name (`seed 3`, `mean over seeds`)."""

    def close(self) -> None: ...


class TensorBoard:
    """A run of TensorBoard for each curve, in a folder: `tensorboard --logdir FOLDER` shows them above each other."""

    def __init__(self, folder: Path) -> None:
        """Begin anew.

        Raises:
            UserError: tensorboardX is not installed.
        """
        try:
            from tensorboardX import SummaryWriter  # noqa: PLC0415  an extra
        except ImportError:
            raise _missing("tensorboard", "tensorboardX") from None
        shutil.rmtree(folder, ignore_errors=True)
        self._open = lambda curve: SummaryWriter(str(folder / curve), flush_secs=1)
        self._writers: dict[str, Any] = {}

    def log(self, curve: str, epoch: int, figures: Mapping[str, float]) -> None:
        """Add a point to the curves of one name."""
        if curve not in self._writers:
            self._writers[curve] = self._open(curve)
        for name, value in figures.items():
            self._writers[curve].add_scalar(name, value, epoch)

    def close(self) -> None:
        """Write the last points."""
        for writer in self._writers.values():
            writer.close()


class WeightsAndBiases:
    """One run of Weights & Biases, whose curves are named by what they show and of what: `test/loss/seed 3`.

    Where it goes is for W&B's own settings to say: `WANDB_PROJECT`, and `WANDB_MODE=offline` for a run that stays in
    the folder until `wandb sync` sends it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Begin a run, with the settings of the study.

        Raises:
            UserError: wandb is not installed, or nobody is logged in.
        """
        try:
            import wandb  # noqa: PLC0415  an extra
        except ImportError:
            raise _missing("wandb", "wandb") from None
        try:
            self._run = wandb.init(
                dir=folder, name=folder.name, config=dict(settings), settings=wandb.Settings(console="off", quiet=True)
            )
        except wandb.Error as error:
            why = str(error).splitlines()[0]
            raise UserError(f"--track wandb: {why}; set WANDB_MODE=offline to keep the run in {folder}") from None
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("*", step_metric="epoch")

    def log(self, curve: str, epoch: int, figures: Mapping[str, float]) -> None:
        """Add a point to the curves of one name."""
        self._run.log({"epoch": epoch} | {f"{name}/{curve}": value for name, value in figures.items()})

    def close(self) -> None:
        """Write, or send, the last points."""
        self._run.finish()


def _missing(name: str, package: str) -> UserError:
    return UserError(f"--track {name}: needs the package {package}: pip install 'mlpjax[{name}]'")


class Curves:
    """Sends the history of networks to trackers: a curve for each of the first, and the mean with its interval."""

    def __init__(self, trackers: Sequence[Tracker], names: Sequence[str], eval_every: int) -> None:
        """Prepare.

        Args:
            trackers: where the curves go.
            names: of the networks, in their order.
            eval_every: epochs between two evaluations.
        """
        self._trackers = trackers
        self._names = names[:CURVES]
        self._eval_every = eval_every
        self._sent: Counter[str] = Counter()
        """Evaluations that were sent, by curve."""

    def on_history(
        self, places: Int[np.ndarray, " networks"], history: Mapping[str, Float[np.ndarray, "networks evaluations"]]
    ) -> None:
        """Send what is new, as `train_many` tells it."""
        for row, place in enumerate(places):
            if place < len(self._names):
                self._send(self._names[place], {name: values[row] for name, values in history.items()})

    def finish(self, trained: Trained) -> None:
        """Send what was not sent yet, and the mean over the networks that did not diverge with its 95 % interval."""
        if not self._trackers:
            return
        history = {name: values for name, values in trained.history.items() if name != "seconds"}
        self.on_history(np.arange(len(trained.seeds)), history)
        kept = ~trained.diverged
        if kept.any():
            bands = {name: _band(values[kept]) for name, values in history.items()}
            for place, curve in enumerate(("95 % interval, low", "mean over seeds", "95 % interval, high")):
                self._send(curve, {name: band[place] for name, band in bands.items()})

    def _send(self, curve: str, history: Mapping[str, Float[np.ndarray, " evaluations"]]) -> None:
        evaluations = len(next(iter(history.values())))
        for evaluation in range(self._sent[curve], evaluations):
            figures = {name: float(values[evaluation]) for name, values in history.items()}
            finite = {"/".join(filter(None, parts(name))): v for name, v in figures.items() if np.isfinite(v)}
            for tracker in self._trackers:
                tracker.log(curve, evaluation * self._eval_every, finite)
        self._sent[curve] = max(self._sent[curve], evaluations)


def _band(values: Float[np.ndarray, "networks evaluations"]) -> Float[np.ndarray, "3 evaluations"]:
    """Low end, mean and high end, where all are numbers; the start has no gradient norm."""
    band = np.full((3, values.shape[1]), np.nan)
    finite = np.isfinite(values).all(axis=0)
    band[:, finite] = mean_band(values[:, finite])
    return band


@contextmanager
def tracking(
    trackers: Sequence[TrackerName], folder: Path, settings: Mapping[str, Any], seeds: Sequence[int], eval_every: int
) -> Iterator[Curves]:
    """The curves of a run that goes to trackers by name, in `events/` and `wandb/` of its folder.

    Args:
        trackers: their names.
        folder: the run's.
        settings: what the run is told, for the page of it.
        seeds: of the networks whose history will be told.
        eval_every: epochs between two evaluations.

    Yields:
        The curves; in the end all of them are closed, also where the training was interrupted.

    Raises:
        UserError: a package is missing, or nobody is logged in.
    """
    make: dict[str, Callable[[], Tracker]] = {
        "tensorboard": lambda: TensorBoard(folder / EVENTS),
        "wandb": lambda: WeightsAndBiases(folder, settings),
    }
    with ExitStack() as stack:
        made = [stack.enter_context(closing(make[name]())) for name in dict.fromkeys(trackers)]
        yield Curves(made, [f"seed {seed}" for seed in seeds], eval_every)
