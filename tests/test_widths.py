import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import mlpjax
from mlpjax import sweeps, widths
from mlpjax.cli import main
from mlpjax.data import LOADERS, Dataset, Split, load
from mlpjax.report.figures import png, width_curves
from mlpjax.stats import mean_ci, summarise

SMALL = ["widths", "--data", "xor", "--hidden", "2", "4", "8", "--layers", "1", "--seeds", "3", "--batch-size", "50"]
COMMAND = [*SMALL, "--epochs", "4", "--eval-every", "2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("widths") / "run"
    main([*COMMAND, "--out", str(out)])
    return out


def test_the_folder_holds_every_figure_of_every_width(finished):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*")}
    assert {"config.json", "widths.parquet", "summary.json", "figures/widths.png"} <= names
    assert {f"checkpoints/widths-tuple-2-{width}-2/networks" for width in (2, 4, 8)} <= names
    config = json.loads((finished / "config.json").read_text())["config"]
    assert config["hidden"] == [2, 4, 8]
    assert config["recipe"]["optimizer"] == "momentum"
    frame = pd.read_parquet(finished / "widths.parquet")
    assert frame.columns.tolist() == ["width", "parameters", "seed", "epoch", "split", "metric", "value"]
    assert len(frame.groupby(["width", "seed", "epoch"])) == 3 * 3 * 3
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["seeds"] == 3
    assert [group["width"] for group in summary["widths"]] == [2, 4, 8]
    assert summary["seconds"] == pytest.approx(sum(group["seconds"] for group in summary["widths"]))
    for group in summary["widths"]:
        h = group["width"]
        assert group["parameters"] == (2 * h + h) + (2 * h + 2)
        rows = frame[(frame["width"] == h) & (frame["epoch"] == 4) & (frame["split"] == "test")]
        assert set(rows["parameters"]) == {group["parameters"]}
        error = 100 * (1 - rows[rows["metric"] == "accuracy"]["value"].to_numpy())
        assert group["test_error"]["mean"] == pytest.approx(error.mean())
        assert group["test_error"]["ci95"] == pytest.approx(mean_ci(error))
        assert group["diverged"] == []


def test_a_width_is_what_train_many_alone_gives(finished):
    """Fails if a width's networks see those of another, get another seed, or are padded with what is not theirs."""
    recipe = mlpjax.Recipe(optimizer="momentum", learning_rate=0.01, batch_size=50, epochs=4, eval_every=2)
    model = mlpjax.MLP(widths=(2, 4, 2))
    trained = mlpjax.train_many(model, recipe, load("xor"), range(3))
    frame = pd.read_parquet(finished / "widths.parquet")
    rows = frame[(frame["width"] == 4) & (frame["split"] == "test") & (frame["metric"] == "loss")]
    table = rows.pivot(index="seed", columns="epoch", values="value")
    np.testing.assert_array_equal(table.to_numpy(), trained.history["test_loss"].astype(float))


def test_the_same_command_trains_nothing_again(finished, capsys):
    def times():
        return {path: path.stat().st_mtime_ns for path in (finished / "checkpoints").rglob("*.npy")}

    before, summary = times(), (finished / "summary.json").read_text()
    main([*COMMAND, "--out", str(finished)])
    assert times() == before
    assert (finished / "summary.json").read_text() == summary
    printed = capsys.readouterr().out
    assert "Means over 3 seeds on xor" in printed
    assert "widths.png" in printed


# Kills itself before the second width.
KILLED = """
import os, signal, sys
from mlpjax import cli, sweeps
train_many, calls = sweeps.train_many, []
def train_or_die(*args, **options):
    calls.append(args)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_many(*args, **options)
sweeps.train_many = train_or_die
cli.main()
"""


def test_a_killed_and_an_interrupted_sweep_find_what_an_undisturbed_one_finds(finished, tmp_path, monkeypatch, capsys):
    """SIGKILL after the widest of three, Ctrl-C after the next, then the same command to the end."""
    out = tmp_path / "run"
    killed = subprocess.run([sys.executable, "-c", KILLED, *COMMAND, "--out", out], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [path.parent.name for path in out.rglob("networks")] == ["widths-tuple-2-8-2"]

    train_many = sweeps.train_many

    def interrupt(model, *args, **options):
        if model.widths[1] == 2:
            raise KeyboardInterrupt
        return train_many(model, *args, **options)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sweeps, "train_many", interrupt)
        main([*COMMAND, "--out", str(out)])
    assert stop.value.code == 130
    assert "to go on, give the same command" in capsys.readouterr().out
    assert not (out / "summary.json").exists()

    main([*COMMAND, "--out", str(out)])
    frames = [pd.read_parquet(folder / "widths.parquet") for folder in (out, finished)]
    kept = [frame[frame["metric"] != "seconds"].reset_index(drop=True) for frame in frames]
    pd.testing.assert_frame_equal(*kept, check_exact=True)


def test_a_width_of_which_every_seed_diverges_is_still_reported(tmp_path, capsys):
    command = [*SMALL, "--hidden", "2", "--seeds", "1", "--epochs", "1", "--eval-every", "1"]
    main([*command, "--learning-rate", "1e20", "--loss", "squared_error", "--out", str(tmp_path / "run")])
    (group,) = json.loads((tmp_path / "run" / "summary.json").read_text())["widths"]
    assert group["diverged"] == [0]
    assert group["test_loss"] is None
    assert "Width 2: diverged, and left out of the figures: seeds 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hidden", "4", "0"], "hidden 4 0: give at least one width, each at least 1"),
        (["--hidden"], "give at least one width"),
        (["--hidden", "2", "4", "4"], "hidden 2 4 4: give every width once, in increasing order; 4 follows 4"),
        (["--hidden", "8", "4"], "4 follows 8"),
        (["--layers", "0"], "layers 0: must be at least 1"),
        (["--seeds", "0"], "seeds 0: must be at least 1"),
        (["--layers", "3", "--dropout", "0.1", "0.2"], "one for each of the 3 hidden layers"),
        (["--batch-size", "751"], "batch_size 751"),
        (["--data", "mnist6k"], "mnist6k"),
    ],
)
def test_bad_values_are_one_line_and_exit_code_2(arguments, said, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, "--out", str(tmp_path / "run"), *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused_by_name(finished, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, "--hidden", "2", "4", "--out", str(finished)])
    assert stop.value.code == 2
    assert "hidden [2, 4, 8], not [2, 4]" in capsys.readouterr().err


def test_a_regression_is_compared_by_its_rmse(tmp_path, monkeypatch, capsys):
    x = np.random.default_rng(0).uniform(size=(60, 1)).astype(np.float32)
    split = Split(x, np.concatenate([np.sin(6 * x), np.cos(6 * x)], axis=1))
    monkeypatch.setitem(LOADERS, "waves", lambda: Dataset("waves", split, split, split))
    command = ["widths", "--data", "waves", "--hidden", "3", "--layers", "1", "--seeds", "2", "--epochs", "1"]
    options = ["--eval-every", "1", "--batch-size", "20", "--loss", "squared_error"]
    main([*command, *options, "--out", str(tmp_path / "run")])
    (group,) = json.loads((tmp_path / "run" / "summary.json").read_text())["widths"]
    assert group["parameters"] == 2 * 3 + 2 * 4
    assert group["test_rmse"]["mean"] > 0
    assert "RMSE" in capsys.readouterr().out


def test_the_default_sweep_is_that_of_double_descent():
    sweep = widths.WidthSweep()
    assert len(sweep.hidden) == 19
    assert {16, 47, 61, 300} <= set(sweep.hidden)
    assert sweep.seeds == 30
    assert sweep.model(47, load("mnist1d")).name == "40-47-47-10"


def test_a_logit_for_two_classes_has_one_output():
    sweep = widths.WidthSweep(data="xor", recipe=mlpjax.Recipe(loss="binary_cross_entropy"))
    assert sweep.model(4, load("xor")).widths == (2, 4, 4, 1)


def test_the_figure_shows_mean_and_interval_of_each_width():
    names = ("train_error", "test_error", "train_loss", "test_loss")
    values = dict(zip(names, np.random.default_rng(0).uniform(1, 2, (4, 5, 8)), strict=True))
    groups = [
        {"width": 4 * 2**i, "parameters": 10**i} | {name: summarise(values[name][i]) for name in names}
        for i in range(5)
    ]
    groups[2]["test_loss"] = None
    figure = width_curves(groups)
    error, loss = figure.axes
    assert error.get_xscale() == loss.get_xscale() == "log"
    assert (error.get_ylabel(), loss.get_ylabel()) == ("final error (%)", "final loss")
    for name, axes, line in zip(names, (error, error, loss, loss), (0, 1, 0, 1), strict=True):
        drawn = axes.lines[line].get_ydata()
        present = np.isfinite(drawn)
        assert present.tolist() == [True, True, name != "test_loss", True, True]
        np.testing.assert_allclose(drawn[present], values[name].mean(axis=1)[present])
        band = np.concatenate([path.vertices[:, 1] for path in axes.collections[line].get_paths()])
        assert band.min() == min(group[name]["ci95"][0] for group in groups if group[name])
    assert [label.get_text() for label in error.get_xticklabels()] == ["64", "32", "16", "8", "4"]
    assert [label.get_text() for label in error.child_axes[0].get_xticklabels()] == ["10k", "1k", "100", "10", "1"]
    assert png(figure).startswith(b"\x89PNG")


def test_the_figure_of_one_width_and_one_seed():
    once = {name: summarise(np.ones(1)) for name in ("train_error", "test_error", "train_loss", "test_loss")}
    assert png(width_curves([{"width": 4, "parameters": 42} | once])).startswith(b"\x89PNG")
