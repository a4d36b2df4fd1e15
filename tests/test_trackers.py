"""Curves in TensorBoard's and Weights & Biases' own files are those of the history."""

import json
import struct
import sys

import numpy as np
import pytest
import wandb
from tensorboardX.proto.event_pb2 import Event
from wandb.proto.wandb_internal_pb2 import Record

from mlpjax import MLP, Recipe, load, trackers, train_many
from mlpjax.errors import UserError
from mlpjax.plumbing.runs import Checkpoints
from mlpjax.recorded import read_runs
from mlpjax.stats import mean_ci

SEEDS, EVERY = range(3, 8), 2


def train(curves, **options):
    """Five networks, two on each device at a time."""
    recipe = Recipe(batch_size=None, epochs=6, eval_every=EVERY, learning_rate=0.05)
    model, dataset = MLP((2, 4, 2)), load("xor", n=40)
    return train_many(model, recipe, dataset, SEEDS, chunk=1, on_history=curves.on_history, **options)


def follow(name, folder, **options):
    """Train them, with their curves in a tracker."""
    with trackers.tracking([name], folder, {"epochs": 6}, SEEDS, EVERY) as curves:
        trained = train(curves, **options)
        curves.finish(trained)
    return trained


def tensorboard_points(folder):
    """[(curve, tag, epoch, value)], from the files: length, two checksums and an Event in each record."""
    points = []
    for path in sorted(folder.glob("*/*tfevents*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            points += [(path.parent.name, value.tag, event.step, value.simple_value) for value in event.summary.value]
            data = data[16 + size :]
    return points


def wandb_points(folder):
    """The same, from LevelDB's log: blocks of 32 KiB, in which records stand whole or in pieces."""
    wandb.teardown()  # its service writes the last of the file
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, place, pieces, points = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        pieces += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            items = Record.FromString(pieces).history.item
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            names = [name for name in row if "/" in name]
            points += [(name.rpartition("/")[2], name.rpartition("/")[0], row["epoch"], row[name]) for name in names]
            pieces = b""
    return points


def expected(trained):
    """Every finite point of the seeds' curves, from the tidy table; the interval round every mean."""
    table = trained.to_frame()
    table = table[np.isfinite(table["value"]) & (table["metric"] != "seconds")]
    table["tag"] = (table["split"] + "/" + table["metric"]).str.lstrip("/")
    points = {(f"seed {row.seed}", row.tag, row.epoch): row.value for row in table.itertuples()}
    for (tag, epoch), group in table.groupby(["tag", "epoch"]):
        values = group["value"].to_numpy()
        points["mean over seeds", tag, epoch] = values.mean()
        low, high = mean_ci(values)
        points["95 % interval, low", tag, epoch], points["95 % interval, high", tag, epoch] = low, high
    return points


@pytest.mark.parametrize(("name", "read"), [("tensorboard", tensorboard_points), ("wandb", wandb_points)])
def test_curves_are_those_of_the_history_each_point_once(name, read, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    trained = follow(name, tmp_path)
    points = read(tmp_path / "events" if name == "tensorboard" else tmp_path)
    found = {point[:3]: point[3] for point in points}
    assert len(found) == len(points)
    wanted = expected(trained)
    assert found.keys() == wanted.keys()
    for point, value in wanted.items():
        assert found[point] == pytest.approx(value, rel=1e-6), point
    if name == "tensorboard":
        (run,) = read_runs(tmp_path)
        assert (run.name, run.seeds) == (tmp_path.name, tuple(SEEDS))
        np.testing.assert_allclose(run.values["test_loss"], trained.history["test_loss"][:, -1], rtol=1e-6)
        np.testing.assert_allclose(run.values["grad_norm"], trained.history["grad_norm"][:, -1], rtol=1e-6)
    mean = np.mean(trained.history["test_loss"][:, -1].astype(float))
    assert found["mean over seeds", "test/loss", 6] == pytest.approx(mean, rel=1e-6)


def test_history_is_told_while_networks_train():
    told = []

    class Told(trackers.Curves):
        def on_history(self, places, history):
            told.append((tuple(places), {name: values.copy() for name, values in history.items()}))

    trained = train(Told([], [], EVERY))
    assert {place for places, _ in told for place in places} == set(range(5))
    for places, history in told:
        assert "seconds" not in history
        for name, values in history.items():
            assert 2 <= values.shape[1] <= 4
            np.testing.assert_array_equal(values, trained.history[name][list(places), : values.shape[1]])


def test_what_is_kept_already_gets_its_curve_too_and_none_twice(tmp_path):
    follow("tensorboard", tmp_path, store=Checkpoints(tmp_path / "checkpoints"))
    first = tensorboard_points(tmp_path / "events")
    follow("tensorboard", tmp_path, store=Checkpoints(tmp_path / "checkpoints"))
    assert tensorboard_points(tmp_path / "events") == first


def test_more_networks_than_a_page_can_show_are_in_the_mean_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "CURVES", 2)
    trained = follow("tensorboard", tmp_path)
    points = tensorboard_points(tmp_path / "events")
    assert {curve for curve, *_ in points if curve.startswith("seed")} == {"seed 3", "seed 4"}
    means = {(tag, epoch): value for curve, tag, epoch, value in points if curve.startswith("mean")}
    assert means["test/loss", 6] == pytest.approx(trained.history["test_loss"][:, -1].mean(), rel=1e-6)


def test_networks_that_diverged_are_not_in_the_mean(tmp_path):
    with trackers.tracking(["tensorboard"], tmp_path, {}, SEEDS, EVERY) as curves:
        trained = train(curves)
        trained.history["train_loss"][1, 2:] = np.inf
        curves.finish(trained)
    points = tensorboard_points(tmp_path / "events")
    kept = trained.history["test_loss"][[0, 2, 3, 4], -1].astype(float)
    found = {curve: value for curve, tag, epoch, value in points if (tag, epoch) == ("test/loss", 6)}
    assert found["mean over seeds"] == pytest.approx(kept.mean(), rel=1e-6)
    assert [found[f"95 % interval, {end}"] for end in ("low", "high")] == pytest.approx(mean_ci(kept), rel=1e-6)


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_package_that_is_missing_is_named_with_the_mend(name, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(UserError, match=rf"--track {name}: .*pip install 'mlpjax\[{name}\]'"),
        trackers.tracking([name], tmp_path, {}, SEEDS, EVERY),
    ):
        pass


def test_wandb_without_an_account_says_how_to_do_without(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with (
        pytest.raises(UserError, match="WANDB_MODE=offline"),
        trackers.tracking(["wandb"], tmp_path, {}, SEEDS, EVERY),
    ):
        pass
