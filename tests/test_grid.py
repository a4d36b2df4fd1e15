import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import labelled, texts

import mlpjax
from mlpjax import forecast, sweeps
from mlpjax.cli import main
from mlpjax.data import LOADERS, Dataset, Split, load
from mlpjax.effects import effects
from mlpjax.grid import GridSweep
from mlpjax.report.figures import png, sweep_curves
from mlpjax.stats import lowest, mean_ci, summarise
from mlpjax.vgg import BLOCKS

pytestmark = pytest.mark.usefixtures("only_png")
SMALL = ["sweep", "--data", "xor", "--widths", "2", "9", "2", "--seeds", "3", "--batch-size", "50", "--epochs", "4"]
COMMAND = [*SMALL, "--eval-every", "2", "--over", "hidden", "2", "4", "8"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "run"
    main([*COMMAND, "--out", str(out)])
    return out


def test_the_folder_holds_every_figure_of_every_setting(finished):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*")}
    assert {"config.json", "sweep.parquet", "summary.json", "report.html"} <= names
    assert {f"figures/sweep.{kind}" for kind in ("png", "svg", "pdf")} <= names
    assert {f"checkpoints/widths-tuple-2-{width}-2/networks" for width in (2, 4, 8)} <= names
    config = json.loads((finished / "config.json").read_text())["config"]
    assert config["over"] == [["hidden", "2", "4", "8"]]
    frame = pd.read_parquet(finished / "sweep.parquet")
    assert frame.columns.tolist() == ["hidden", "parameters", "seed", "epoch", "split", "metric", "value"]
    assert set(frame["epoch"]) == {0, 2, 4}
    assert len(frame.groupby(["hidden", "seed", "epoch"])) == 3 * 3 * 3
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["seeds"] == 3
    assert summary["over"] == {"hidden": [2, 4, 8]}
    assert [group["setting"] for group in summary["settings"]] == [{"hidden": width} for width in (2, 4, 8)]
    assert summary["seconds"] == pytest.approx(sum(group["seconds"] for group in summary["settings"]))
    for group in summary["settings"]:
        h = group["setting"]["hidden"]
        assert group["parameters"] == (2 * h + h) + (2 * h + 2)
        rows = frame[(frame["hidden"] == h) & (frame["epoch"] == 4) & (frame["split"] == "test")]
        assert set(rows["parameters"]) == {group["parameters"]}
        error = 100 * (1 - rows[rows["metric"] == "accuracy"]["value"].to_numpy())
        assert group["test_error"]["mean"] == pytest.approx(error.mean())
        assert group["test_error"]["ci95"] == pytest.approx(mean_ci(error))
        assert group["diverged"] == []


def errors(frame, split, field):
    rows = frame[(frame["split"] == split) & (frame["metric"] == "accuracy") & (frame["epoch"] == frame["epoch"].max())]
    return 100 * (1 - rows.pivot(index=field, columns="seed", values="value").to_numpy())


def test_the_best_setting_and_what_matters_are_those_of_the_table(finished):
    frame = pd.read_parquet(finished / "sweep.parquet")
    summary = json.loads((finished / "summary.json").read_text())
    place, doubt = lowest(errors(frame, "valid", "hidden"))
    assert summary["best"] == {"place": place, "split": "valid", "among": 3, "doubt": doubt}
    parts = effects(errors(frame, "test", "hidden"), ["hidden"])
    assert [part["name"] for part in summary["variation"]] == ["hidden", "seed", "rest"]
    for part, expected in zip(summary["variation"], parts, strict=True):
        assert part["share"] == pytest.approx(expected.share)
    page = (finished / "report.html").read_text()
    assert f"The lowest mean validation error is that of hidden {(2, 4, 8)[place]}." in page
    assert "3 settings of hidden on xor" in page


def test_a_setting_is_what_train_many_alone_gives(finished):
    """Fails if a setting's networks see those of another, get another seed, or are padded with what is not theirs."""
    recipe = mlpjax.Recipe(batch_size=50, epochs=4, eval_every=2)
    trained = mlpjax.train_many(mlpjax.MLP(widths=(2, 4, 2)), recipe, load("xor"), range(3))
    frame = pd.read_parquet(finished / "sweep.parquet")
    rows = frame[(frame["hidden"] == 4) & (frame["split"] == "test") & (frame["metric"] == "loss")]
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
    assert "3 settings with 3 seeds: 9 networks" in printed
    assert "Over 3 seeds on xor" in printed
    assert "report.html" in printed


# Kills itself before the second program.
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

    monkeypatch.setattr(forecast, "MEASURED", 1e-9)
    main([*COMMAND, "--out", str(out)])
    assert capsys.readouterr().out.count("of training to go, judged by the first") == 1
    frames = [pd.read_parquet(folder / "sweep.parquet") for folder in (out, finished)]
    kept = [frame[frame["metric"] != "seconds"].reset_index(drop=True) for frame in frames]
    pd.testing.assert_frame_equal(*kept, check_exact=True)


def test_a_grid_over_the_network_the_recipe_and_the_data_leaves_out_what_diverged(tmp_path, capsys):
    """A rate of 1e20 diverges; the wrong labels are those of the data set that is made with them."""
    grid = ["--over", "learning-rate", "0.1", "1e20", "--over", "label_noise", "0", "0.2"]
    options = ["--loss", "squared_error", "--optimizer", "sgd", "--epochs", "1", "--first-seed", "5"]
    main([*SMALL, *options, *grid, "--out", str(tmp_path / "run")])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [group["setting"] for group in summary["settings"]] == [
        {"learning_rate": rate, "label_noise": noise} for rate in (0.1, 1e20) for noise in (0, 0.2)
    ]
    assert [group["diverged"] for group in summary["settings"]] == [[], [], [5, 6, 7], [5, 6, 7]]
    assert summary["best"]["among"] == 2
    assert summary["variation"] is None
    noisy = mlpjax.data.dataset.with_label_noise(load("xor"), 0.2)
    recipe = mlpjax.Recipe(loss="squared_error", optimizer="sgd", learning_rate=0.1, batch_size=50, epochs=1)
    trained = mlpjax.train_many(mlpjax.MLP((2, 9, 2)), recipe, noisy, range(5, 8))
    found = summary["settings"][1]["train_loss"]["mean"]
    assert found == pytest.approx(trained.history["train_loss"][:, -1].mean(), rel=1e-5)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Chosen among the 2 settings at which no network diverged" in page
    assert "diverged" in capsys.readouterr().out
    frame = pd.read_parquet(tmp_path / "run" / "sweep.parquet")
    assert set(frame["learning_rate"]) == {0.1, 1e20}


def test_where_all_diverge_none_is_best(tmp_path):
    out = str(tmp_path / "run")
    options = ["--seeds", "1", "--epochs", "1", "--loss", "squared_error", "--over", "learning_rate", "1e20"]
    main([*SMALL, *options, "--out", out])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["best"] is None
    assert summary["settings"][0]["test_loss"] is None
    assert "none can be called the best" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "over: give a field and its values, such as --over learning_rate 0.001 0.01"),
        (["--over"], "over: give a field"),
        (["--over", "hidden"], "over hidden: give at least one value"),
        (["--over", "hidden", "4", "0"], "every width must be at least 1"),
        (["--over", "hidden", "4", "4"], "stands in the sweep twice"),
        (["--over", "hidden", "4", "--over", "widths", "2-3-2"], "over hidden and widths: give one of them"),
        (["--over", "ridge", "0", "--over", "ridge", "1"], "over ridge: stands there twice"),
        (["--over", "learning_rat", "0.1"], "did you mean 'learning_rate'?"),
        (["--over", "lr", "0.1"], "did you mean 'learning_rate'?"),
        (["--over", "learning_rate", "fast"], "over learning_rate: 'fast' is no value of it"),
        (["--over", "epochs", "2.5"], "over epochs: '2.5' is no value of it"),
        (["--over", "activation", "rely"], "did you mean 'relu'?"),
        (["--over", "batch_size", "751"], "batch_size 751"),
        (["--over", "label_noise", "2"], "label_noise 2.0: give a share from 0 to 1"),
        (["--over", "data", "mnist6k"], "mnist6k"),
        (["--over", "seeds", "3"], "unknown field to sweep 'seeds'"),
        (["--seeds", "0", "--over", "hidden", "2"], "seeds 0: must be at least 1"),
        (["--widths", "2", "2", "--over", "hidden", "2"], "the network has no hidden layer"),
    ],
)
def test_bad_values_are_one_line_and_exit_code_2(arguments, said, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, "--out", str(tmp_path / "run"), *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused_by_name(finished, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, "--seeds", "4", "--out", str(finished)])
    assert stop.value.code == 2
    assert "seeds 3, not 4" in capsys.readouterr().err


def test_a_regression_is_compared_by_its_rmse(tmp_path, monkeypatch, capsys):
    x = np.random.default_rng(0).uniform(size=(60, 1)).astype(np.float32)
    split = Split(x, np.concatenate([np.sin(6 * x), np.cos(6 * x)], axis=1))
    monkeypatch.setitem(LOADERS, "waves", lambda: Dataset("waves", split, split, split))
    command = ["sweep", "--data", "waves", "--widths", "1", "3", "2", "--seeds", "2", "--epochs", "1"]
    options = ["--batch-size", "20", "--loss", "squared_error", "--over", "hidden", "3"]
    main([*command, *options, "--out", str(tmp_path / "run")])
    (group,) = json.loads((tmp_path / "run" / "summary.json").read_text())["settings"]
    assert group["parameters"] == 2 * 3 + 2 * 4
    assert group["test_rmse"]["mean"] > 0
    assert "RMSE" in capsys.readouterr().out


def test_deformations_are_swept(tmp_path):
    """None is the training on the images as they are; every value is kept by itself, so that seeds can be added."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, 8, 8), dtype=np.uint8), np.arange(24) % 2
    np.savez(tmp_path / "images.npz", x=x, y=y)
    options = ["--data", f"npz:{tmp_path / 'images.npz'}", "--widths", "64", "3", "2", "--batch-size", "8"]
    options += ["--epochs", "1", "--seeds", "2", "--rotation", "9", "--over", "rotation", "0", "90"]
    main(["sweep", *options, "--out", str(tmp_path / "run")])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    none, much = (group["train_loss"]["mean"] for group in summary["settings"])
    assert none != much
    dataset = mlpjax.load(f"npz:{tmp_path / 'images.npz'}")
    recipe = mlpjax.Recipe(batch_size=8, epochs=1)
    plain = mlpjax.train_many(mlpjax.MLP((64, 3, 2)), recipe, dataset, range(2))
    assert none == pytest.approx(plain.history["train_loss"][:, -1].mean(), rel=1e-5)


def test_a_vgg_is_swept_on_images(tmp_path, monkeypatch):
    """Its classes are those of the data; batch statistics are each network's own."""
    monkeypatch.setitem(BLOCKS, 11, (1, 1, 0, 0, 0))  # two convolutions of the eight
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8), np.arange(24) % 3
    np.savez(tmp_path / "images.npz", x=x, y=y)
    command = ["sweep", "vgg", "--data", f"npz:{tmp_path / 'images.npz'}", "--depth", "11", "--width", "0.016"]
    options = ["--batch-norm", "--batch-size", "8", "--epochs", "1", "--seeds", "2"]
    main([*command, *options, "--over", "learning_rate", "0.1", "1e-9", "--out", str(tmp_path / "run")])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    moved, still = (group["train_loss"]["mean"] for group in summary["settings"])
    assert moved != still
    assert len({group["parameters"] for group in summary["settings"]}) == 1
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert config["model"]["classes"] == 3


def test_values_are_read_by_the_type_of_their_field():
    given = {
        "widths": (["2-3-2", "2-8-8-2"], [(2, 3, 2), (2, 8, 8, 2)]),
        "dropout": (["0", "0.5"], [0.0, 0.5]),
        "activation": (["relu", "tanh"], ["relu", "tanh"]),
        "batch_size": (["20", "none"], [20, None]),
        "weight_decay": (["None", "1e-3"], [None, 0.001]),
        "data": (["xor", "mnist1d"], ["xor", "mnist1d"]),
        "image_size": (["8-8", "16-16"], [(8, 8), (16, 16)]),
        "skip_bad": (["true", "False"], [True, False]),
        "hidden": (["2", "4"], [2, 4]),
    }
    for name, (typed, values) in given.items():
        config = GridSweep(data="xor", over=((name, *typed),), model=mlpjax.MLP((2, 5, 5, 2)))
        (axis,) = config.axes(load("xor"))
        assert axis.values == values
    assert axis.field == "widths"
    assert axis.means == [(2, 2, 2, 2), (2, 4, 4, 2)]


def test_hidden_layers_of_the_default_network_fit_the_data():
    config = GridSweep(over=(("hidden", "47"),))
    assert config.axes(load("mnist1d"))[0].means == [(40, 47, 47, 10)]
    one_logit = GridSweep(over=(("hidden", "4"),), recipe=mlpjax.Recipe(loss="binary_cross_entropy"))
    assert one_logit.axes(load("xor"))[0].means == [(2, 4, 4, 1)]


def groups_of(settings, seeds=8):
    names = ("train_error", "test_error", "train_loss", "test_loss")
    values = dict(zip(names, np.random.default_rng(0).uniform(1, 2, (4, len(settings), seeds)), strict=True))
    groups = [
        {"setting": setting, "parameters": 10**i} | {name: summarise(values[name][i]) for name in names}
        for i, setting in enumerate(settings)
    ]
    return values, groups


def test_the_figure_of_one_number_shows_mean_and_interval_of_each_value():
    widths = [4 * 2**i for i in range(5)]
    values, groups = groups_of([{"hidden": width} for width in widths])
    groups[2]["test_loss"] = None
    figure = sweep_curves({"hidden": widths}, groups)
    labelled(figure)
    error, loss = figure.axes
    assert error.get_xscale() == loss.get_xscale() == "log"
    assert error.get_xlabel() == "units of a hidden layer"
    assert (error.get_ylabel(), loss.get_ylabel()) == ("final error (%)", "final loss")
    names = ("train_error", "test_error", "train_loss", "test_loss")
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


def test_the_figure_of_words_shows_bars_in_their_order():
    values, groups = groups_of([{"activation": name} for name in ("relu", "tanh", "gelu")])
    figure = sweep_curves({"activation": ["relu", "tanh", "gelu"]}, groups)
    error = figure.axes[0]
    assert [label.get_text() for label in error.get_xticklabels()] == ["relu", "tanh", "gelu"]
    test = error.containers[1].lines[0].get_ydata()
    np.testing.assert_allclose(test, values["test_error"].mean(axis=1))
    assert "activation" in texts(figure)


def test_the_figure_of_a_grid_is_a_heat_map_with_every_mean():
    over = {"dropout": [0.0, 0.5], "activation": ["relu", "tanh", "gelu"]}
    settings = [{"dropout": rate, "activation": name} for rate in over["dropout"] for name in over["activation"]]
    values, groups = groups_of(settings)
    groups[4]["test_error"] = groups[4]["test_loss"] = None
    figure = sweep_curves(over, groups)
    drawn = figure.axes[0].images[0].get_array()
    wanted = values["test_error"].mean(axis=1).reshape(2, 3)
    np.testing.assert_allclose(drawn[0], wanted[0])
    assert drawn.mask.tolist() == [[False] * 3, [False, True, False]]
    said = texts(figure)
    low, high = groups[0]["test_error"]["ci95"]
    assert f"{wanted[0, 0]:.3g}\n±{(high - low) / 2:.2g}" in said
    assert "diverged" in said


def test_the_figure_of_one_value_and_one_seed():
    _, groups = groups_of([{"hidden": 4}], seeds=1)
    assert png(sweep_curves({"hidden": [4]}, groups)).startswith(b"\x89PNG")
