import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED_FAST
from PIL import Image

from mlpjax import MLP, Deformation, Recipe, augmented, findings, lift, load, make_task, train_many
from mlpjax.cli import main
from mlpjax.configuration import Configuration, default_folder
from mlpjax.data import LOADERS, Dataset, Split
from mlpjax.plumbing.identity import describe, plain
from mlpjax.stats import mean_ci
from mlpjax.study import Study
from mlpjax.vgg import BLOCKS

pytestmark = pytest.mark.usefixtures("only_png")
SMALL = [
    *["study", "--data", "xor", "--widths", "2", "8", "2", "--batch-size", "50", "--learning-rate", "0.01"],
    *["--seeds", "5", "--controls", "2", "--chunk", "1", "--grid", "5"],
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "run"
    main([*SMALL, "--epochs", "4", "--out", str(out), "--track", "tensorboard"])
    return out


def test_a_run_is_the_folder_that_others_rely_on(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["config"]["recipe"]["learning_rate"] == 0.01
    assert config["config"]["model"]["widths"] == [2, 8, 2]
    metrics = pd.read_parquet(finished / "metrics.parquet")
    assert metrics.columns.tolist() == ["seed", "epoch", "split", "metric", "value"]
    assert set(metrics["seed"]) == {0, 1, 2, 3, 4}
    assert set(metrics["epoch"]) == {0, 1, 2, 3, 4}
    assert set(metrics["metric"]) == {"loss", "accuracy", "grad_norm", "seconds"}
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["seeds"] == 5
    assert summary["diverged"] == []
    assert summary["seconds"] > 0
    last = metrics[(metrics["epoch"] == 4) & (metrics["split"] == "test")]
    error = 100 * (1 - last[last["metric"] == "accuracy"]["value"].to_numpy())
    assert summary["test_error"]["mean"] == pytest.approx(error.mean())
    assert summary["test_error"]["sd"] == pytest.approx(error.std(ddof=1))
    assert summary["test_error"]["ci95"] == pytest.approx(mean_ci(error))
    for name in ("train_loss", "test_loss", "train_error", "test_error"):
        assert summary[name].keys() == {"mean", "sd", "min", "median", "max", "ci95"}
    assert (finished / "checkpoints").is_dir()
    curves = {path.name for path in (finished / "events").iterdir()}
    assert curves == {*(f"seed {seed}" for seed in range(5)), "mean over seeds"} | {
        f"95 % interval, {end}" for end in ("low", "high")
    }
    training = ("samples", "learning_curves", "final_loss", "hidden_units", "regions")
    landscape = ("surface_3d", "surface", "profiles", "trajectory", "spectra", "barriers")
    names = {f"{name}.{kind}" for name in training + landscape for kind in ("png", "svg", "pdf")}
    assert {path.name for path in (finished / "figures").iterdir()} == names


def test_examples_that_are_streamed_give_the_same_figures(finished, tmp_path):
    main([*SMALL, "--epochs", "4", "--out", str(tmp_path), "--no-landscape", "--memory-budget", "1e3"])
    whole, streamed = (pd.read_parquet(run / "metrics.parquet") for run in (finished, tmp_path))
    pd.testing.assert_frame_equal(*(frame[frame["metric"] != "seconds"] for frame in (whole, streamed)))


def test_units_of_the_all_zero_controls_stay_identical(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["controls"]["seeds"] == 2
    assert summary["distinct_units"]["zero"]["layer 1"]["max"] == 1
    assert summary["distinct_units"]["random"]["layer 1"]["min"] == 8
    assert summary["controls"]["test_error"]["mean"] >= 40  # ReLU with zero weights learns the bias alone
    controls = pd.read_parquet(finished / "controls.parquet")
    assert set(controls["seed"]) == {0, 1}


def test_the_report_is_one_file_that_needs_no_other(finished):
    page = (finished / "report.html").read_text()
    assert len(page) < 6e6
    assert page.count('<script type="application/json">') == 6
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert sources
    assert all(source.startswith(("data:image/png", "#")) for source in sources)
    assert page.count("<img") == 11  # there is no gallery where the data are no images
    for title in (
        "Loss surface around seed",
        "Training trajectory of seed",
        "Hessian spectrum at the end of training",
        "Linear mode connectivity",
        "Stationary points",
        "Symmetry breaking",
        "Gradients at an all-zero start",
    ):
        assert title in page


def test_every_key_figure_carries_an_interval(finished):
    page = (finished / "report.html").read_text()
    tiles = re.findall(r'<div class="tile">.*?</div>', page, re.DOTALL)
    labels = set(re.findall(r"<dt>(.*?)</dt>", "".join(tiles)))
    assert {"Test error", "Train error", "Loss barrier", "Certified minima", "All-zero start, test error"} <= labels
    assert all("95 % interval" in tile or "the same in all of 2 seeds" in tile for tile in tiles)


def test_the_summary_says_what_the_landscape_is_like(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert 0 < sum(summary["trajectory"]["variance_explained"]) <= 1 + 1e-6
    assert summary["curvature"]["largest_eigenvalue"]["min"] > 0
    assert summary["curvature"]["residual"]["max"] < 1e-3
    assert summary["barriers"]["pairs"] == 2
    assert summary["barriers"]["before"]["mean"] >= summary["barriers"]["after"]["mean"] - 0.05
    assert sum(summary["endings"]["kinds"].values()) == 5
    assert 1 <= summary["endings"]["different"] <= 5
    # An all-zero ReLU network has a gradient for its output biases at most; here both classes are as frequent.
    page = (finished / "report.html").read_text()
    zero = dict(re.findall(r">(dense_\d/\w+)</th>\s*<td>(\d+) %</td>", page))
    assert zero == dict.fromkeys(("dense_0/bias", "dense_0/kernel", "dense_1/bias", "dense_1/kernel"), "100")


def test_the_same_command_computes_nothing_again_and_finds_the_same(finished, monkeypatch):
    """What a killed study has trained and looked at it takes from the folder."""

    def computed(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(lift, "_run_parts", computed)
    before = {path: path.stat().st_mtime_ns for path in (finished / "checkpoints").rglob("*")}
    summary = (finished / "summary.json").read_text()
    main([*SMALL, "--epochs", "4", "--out", str(finished)])
    assert {path: path.stat().st_mtime_ns for path in (finished / "checkpoints").rglob("*")} == before
    assert (finished / "summary.json").read_text() == summary


def test_another_configuration_is_refused_by_name(finished, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, "--epochs", "5", "--out", str(finished)])
    assert stop.value.code == 2
    assert "holds a run with epochs 4, not 5" in capsys.readouterr().err


def test_one_seed_that_diverges_is_still_a_report(tmp_path, capsys):
    command = [*SMALL, "--seeds", "1", "--controls", "0", "--epochs", "2", "--out", str(tmp_path / "run")]
    main([*command, "--optimizer", "sgd", "--loss", "squared_error", "--learning-rate", "1e20"])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["diverged"] == [0]
    assert summary["test_error"] is None
    said = capsys.readouterr().out
    assert "Diverged, and left out of the figures: seeds 0" in said
    assert "Diagnosis of 1 of 1 seed: learning rate too high" in said
    assert summary["diagnosis"]["learning rate too high"]["seeds"] == [0]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Diverged and left out: seeds 0" in page
    assert page.index("What is wrong") < page.index("After 2 epochs")


def test_other_data_and_a_network_without_a_hidden_layer(tmp_path, monkeypatch):
    monkeypatch.setitem(LOADERS, "mnist1d", partial(LOADERS["mnist1d"], num_samples=1000))  # all take seconds to make
    command = ["study", "--data", "mnist1d", "--widths", "40", "10", "--seeds", "2", "--controls", "1", "--epochs", "5"]
    main([*command, "--no-landscape", "--out", str(tmp_path / "run")])  # the regression below looks at its landscape
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["test_error"]["mean"] < 90


def test_a_study_of_ones_own_functions_has_a_folder_of_its_own():
    """Names by what the functions compute, the same in every process, and a configuration that JSON can hold."""
    own = [Study(model=MLP(activation=function)) for function in (np.sin, lambda z: z, lambda z: 2 * z, lambda z: z)]
    assert len({default_folder("study", study) for study in own}) == 3
    assert plain(own[1])["model"]["activation"].startswith("test_a_study_of_ones_own_functions")


def make_waves() -> Dataset:
    """Two waves over the unit interval, as targets of a regression."""
    x = np.random.default_rng(0).uniform(size=(60, 1)).astype(np.float32)
    split = Split(x, np.concatenate([np.sin(6 * x), np.cos(6 * x)], axis=1))
    return Dataset("waves", split, Split(split.x[:0], split.y[:0]), split)


def test_a_regression_is_studied_too(tmp_path, monkeypatch):
    """Here without a hidden layer."""
    monkeypatch.setitem(LOADERS, "waves", make_waves)
    network = ["--widths", "1", "2", "--loss", "squared_error", "--batch-size", "20"]
    options = ["--seeds", "2", "--controls", "1", "--epochs", "2", "--grid", "3"]
    main(["study", "--data", "waves", *network, *options, "--out", str(tmp_path / "run")])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["test_rmse"]["mean"] == pytest.approx(
        np.mean(np.sqrt(final(tmp_path / "run", "test", "loss"))), rel=1e-5
    )
    assert summary["test_r2"]["max"] < 1
    assert "test_error" not in summary
    assert summary["mistakes"] is None
    assert summary["endings"]["disagreement"] is None
    assert summary["barriers"]["pairs"] == 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "test RMSE" in page
    assert "accuracy" not in page
    assert not (tmp_path / "run" / "figures" / "samples.png").exists()


def final(folder: Path, split: str, metric: str) -> np.ndarray:
    """The last value of every seed."""
    frame = pd.read_parquet(folder / "metrics.parquet")
    rows = frame[(frame["split"] == split) & (frame["metric"] == metric) & (frame["epoch"] == frame["epoch"].max())]
    return rows["value"].to_numpy()


@pytest.mark.parametrize("landscape", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_vgg_is_studied_on_a_folder_of_pictures(tmp_path, capsys, monkeypatch, landscape):
    """One command without a number of classes or features: what is about units is left out, the rest is there."""
    # One or two convolutions of the eight: compiling them all takes minutes.
    monkeypatch.setitem(BLOCKS, 11, (1, int(landscape), 0, 0, 0))
    rng = np.random.default_rng(0)
    for name, colour in (("blue", (60, 60, 200)), ("red", (200, 60, 60))):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for place in range(12):
            pixels = np.clip(rng.normal(colour, 70, (40, 36, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{place}.png")
    command = ["study", "vgg", "--data", f"folder:{tmp_path / 'pictures'}", "--image-size", "32", "32", "--depth", "11"]
    options = ["--width", "0.016", "--batch-norm", "--batch-size", "8", "--epochs", "2", "--seeds", "3", "--grid", "3"]
    options += ["--controls", "1"] + ["--no-landscape"] * (not landscape)
    main([*command, *options, "--out", str(tmp_path / "run")])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["model"]["classes"] == 2
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["diverged"] == []
    assert 0 <= summary["test_error"]["mean"] <= 100
    assert summary["distinct_units"] == {}
    assert summary["controls"]["test_error"]["mean"] == pytest.approx(50)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "3 networks VGG11 with batch norm of width 0.016 on " in page
    assert "The control group after training" in page
    assert "different hidden units" not in page
    assert "VGG11 with batch norm" in capsys.readouterr().out
    figures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures >= {"samples", "learning_curves", "final_loss"}
    if not landscape:
        return
    assert summary["barriers"].keys() == {"pairs", "before", "recomputed"}
    assert summary["barriers"]["recomputed"]["min"] >= 0
    assert summary["curvature"]["residual"]["max"] < summary["curvature"]["largest_eigenvalue"]["max"]
    assert sum(summary["endings"]["kinds"].values()) == 3
    assert 0 < sum(summary["trajectory"]["variance_explained"]) <= 1 + 1e-6
    assert "Loss barrier, statistics recomputed" in page
    assert figures >= {"surface", "profiles", "trajectory", "spectra", "barriers"}


def test_training_examples_are_deformed_where_that_is_asked(tmp_path, monkeypatch):
    """The same networks as those of `train_many` on the augmented task."""
    monkeypatch.setattr(findings, "FINDINGS", [])
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (40, 6, 5), np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "images.npz", x=x, y=y)
    model, recipe = MLP((30, 3, 2)), Recipe(epochs=3, batch_size=10, learning_rate=0.05)
    options = (
        "--widths 30 3 2 --epochs 3 --batch-size 10 --learning-rate 0.05 --seeds 2 --controls 0 --rotation 40 --flip"
    )
    main(["study", "--data", f"npz:{tmp_path / 'images.npz'}", *options.split(), "--out", str(tmp_path / "run")])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    deformation = Deformation(rotation=40, flip=True)
    expected = train_many(
        model,
        recipe,
        load(f"npz:{tmp_path / 'images.npz'}"),
        [0, 1],
        task=lambda *parts: augmented(make_task(*parts), deformation),
        sweep={"scale": np.ones(2)},
    )
    assert summary["test_loss"]["mean"] == pytest.approx(expected.history["test_loss"][:, -1].mean(), rel=1e-6)
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert config["deformation"]["rotation"] == 40
    assert config["deformation"]["flip"]


LONG = [*SMALL, "--epochs", "600", "--eval-every", "10", "--no-landscape"]


# Where the tests run in the background of a shell, Ctrl-C is ignored, and the command would inherit that. A checkpoint
# follows every block, so that many a kill falls into one. That no look at the landscape is taken twice is tested in
# test_findings.py.
COMMAND = """
import shutil
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import mlpjax.lift
mlpjax.lift.CHECKPOINT_SECONDS, mlpjax.lift.BLOCK_SECONDS = 0.0, 0.1
import functools
import mlpjax.cli
import mlpjax.commands
mlpjax.commands.join = functools.partial(mlpjax.commands.join, silence_seconds=5)
mlpjax.cli.main()
"""


def start(out: Path, log: Path, *options: object) -> subprocess.Popen:
    command = [sys.executable, "-c", COMMAND, *LONG, "--out", str(out), *map(str, options)]
    environment = os.environ | {"XLA_FLAGS": COMPILED_FAST}  # and as many devices as cores
    with log.open("w") as file:
        return subprocess.Popen(command, env=environment, stdout=file, stderr=file)


def wait_for(folder: Path, pattern: str) -> None:
    for _ in range(12000):
        if any(folder.glob(pattern)):
            return
        time.sleep(0.005)
    raise AssertionError(f"{pattern} did not come in {folder}")


def assert_same_figures(found: Path, expected: Path) -> None:
    """Bit for bit, but for the time that it took; and nothing half-written is left."""
    for name in ("metrics", "controls"):
        frames = (pd.read_parquet(folder / f"{name}.parquet") for folder in (found, expected))
        values = [frame[frame["metric"] != "seconds"]["value"].to_numpy() for frame in frames]
        np.testing.assert_array_equal(*values)
    assert not list(found.rglob(".*.tmp"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    main([*LONG, "--out", str(folder)])
    return folder


def test_a_killed_and_an_interrupted_study_find_what_an_undisturbed_one_finds(tmp_path, undisturbed):
    """SIGKILL while the first checkpoint is written, Ctrl-C later, then the command to the end."""
    out, log = tmp_path / "disturbed", tmp_path / "log"
    killed = start(out, log)
    wait_for(out / "checkpoints", ".*-partial-*.tmp")
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    interrupted = start(out, log)
    wait_for(out / "checkpoints", "networks-*-0000002-0000003.npz")
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(timeout=60) == 130
    assert "to go on, give the same command" in log.read_text()
    assert not (out / "report.html").exists()
    main([*LONG, "--out", str(out)])
    assert_same_figures(out, undisturbed)
    summary = json.loads((out / "summary.json").read_text())
    assert {name for name, found in summary.items() if found is None} == {
        *("surface", "trajectory", "curvature", "barriers", "endings")
    }
    assert summary["distinct_units"]["random"]["layer 1"]["min"] == 8
    assert "Loss landscape" not in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_study_killed_at_random_moments_finds_what_an_undisturbed_one_finds(tmp_path, undisturbed):
    """SIGKILLs in the start, the compilation, the training, a checkpoint or the report, as it happens."""
    out, log, rng = tmp_path / "disturbed", tmp_path / "log", np.random.default_rng(0)
    for _ in range(100):
        killed = start(out, log)
        time.sleep(rng.uniform(1, 12))
        killed.kill()
        killed.wait()
        if (out / "report.html").exists():
            shutil.rmtree(out)
    assert start(out, log).wait(timeout=300) == 0, log.read_text()
    assert_same_figures(out, undisturbed)


def start_together(out: Path, count: int) -> list[subprocess.Popen]:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        address = f"localhost:{s.getsockname()[1]}"
    options = ["--coordinator", address, "--processes", count, "--process"]
    return [start(out, out.with_suffix(f".{index}.log"), *options, index) for index in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "killed"), [(2, 1), (4, 0)])
def test_processes_that_lose_one_say_so_and_find_together_what_one_finds_alone(tmp_path, undisturbed, count, killed):
    out = tmp_path / "run"
    processes = start_together(out, count)
    wait_for(out / "checkpoints", "networks-*[0-9].npz")
    processes[killed].kill()
    processes[killed].wait()
    begin = time.monotonic()
    for index, process in enumerate(processes):
        said = out.with_suffix(f".{index}.log")
        if index != killed:
            assert process.wait(timeout=60) == 2, said.read_text()
            assert re.search(rf"^error: process {killed} of {count} is gone", said.read_text(), re.MULTILINE)
    assert time.monotonic() - begin < 60
    assert not (out / "report.html").exists()
    for process in start_together(out, count):
        assert process.wait(timeout=300) == 0, [log.read_text() for log in tmp_path.glob("*.log")]
    assert_same_figures(out, undisturbed)


def test_processes_without_a_coordinator_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*SMALL, "--processes", "2", "--process", "0", "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert "give --coordinator HOST:PORT" in capsys.readouterr().err


def test_more_seeds_of_deformed_images_are_the_same_training():
    """What is kept of them is told apart by the deformation, not by how many seeds there are."""
    some = Configuration(deformation=Deformation(rotation=5), seeds=4)
    of = [some, dataclasses.replace(some, seeds=8), dataclasses.replace(some, deformation=Deformation(rotation=6))]
    same, more, other = (describe(config.make_task) for config in of)
    assert same == more != other
