"""Comparisons: what SciPy says of the same numbers, when runs are paired, and what cannot be compared."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import labelled, texts
from tensorboardX import SummaryWriter

from mlpjax.cli import main
from mlpjax.comparison import compare
from mlpjax.errors import UserError
from mlpjax.recorded import Recorded, read_runs
from mlpjax.report.comparison_page import power_figure, runs_figure
from mlpjax.stats import difference, holm, mean_ci, power, seeds_to_show

RNG = np.random.default_rng(0)
HARD = RNG.normal(size=20)
A = Recorded("A", "digits", {"test_error": 5 + HARD, "test_loss": 1 + 0 * HARD + RNG.normal(size=20)}, tuple(range(20)))
B = Recorded("B", "digits", {"test_error": 4.9 + HARD + RNG.normal(size=20) / 10, "seconds": HARD}, tuple(range(20)))


def only(found, metric="test_error"):
    (row,) = [row for row in found["comparisons"] if row["metric"] == metric]
    return row


def test_runs_of_the_same_seeds_and_data_are_paired():
    row = only(compare([A, B]))
    assert row["paired"]
    gaps = B.values["test_error"] - A.values["test_error"]
    assert row["mean"] == pytest.approx(gaps.mean())
    assert row["ci95"] == pytest.approx(mean_ci(gaps))
    assert row["p"] == pytest.approx(scipy.stats.ttest_1samp(gaps, 0).pvalue, abs=0.01)
    assert row["seeds_to_show"] == seeds_to_show(gaps.mean(), gaps.std(ddof=1))
    assert dict(row["power"])[16] == pytest.approx(power(gaps.mean(), gaps.std(ddof=1), 16))


def test_seeds_are_matched_by_name_and_not_by_place():
    order = np.random.default_rng(1).permutation(20)
    shuffled = Recorded("B", "digits", {"test_error": B.values["test_error"][order]}, tuple(order.tolist()))
    assert only(compare([A, shuffled]))["ci95"] == pytest.approx(only(compare([A, B]))["ci95"])


@pytest.mark.parametrize("other", [B._replace(data="letters"), B._replace(seeds=tuple(range(1, 21)))])
def test_runs_of_other_seeds_or_data_are_not_paired(other):
    row = only(compare([A, other]))
    assert not row["paired"]
    told = difference(other.values["test_error"], A.values["test_error"], paired=False)
    assert (row["mean"], row["ci95"], row["p"], row["chance"]) == told[:4]
    assert row["ci95"][1] - row["ci95"][0] > 5 * np.ptp(only(compare([A, B]))["ci95"])


def test_a_diverged_network_is_left_out_with_its_partner():
    error = A.values["test_error"].copy()
    error[3] = np.nan
    row = only(compare([A._replace(values={"test_error": error}), B]))
    assert row["seeds"] == [19, 19]
    assert row["left_out"] == 1
    gaps = np.delete(B.values["test_error"] - A.values["test_error"], 3)
    assert row["mean"] == pytest.approx(gaps.mean())


def test_p_values_are_corrected_over_runs_and_power_is_of_the_size_that_is_asked_for():
    third = B._replace(name="C", values={"test_error": B.values["test_error"] + 0.05})
    found = compare([A, B, third], size=0.5)
    rows = found["comparisons"]
    assert [row["run"] for row in rows] == ["B", "C"]
    assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])
    for row in rows:
        assert row["seeds_to_show"] == seeds_to_show(0.5, row["sd"])


def test_figures_show_every_run():
    found = compare([A, B])
    figure = runs_figure(found, [A, B])
    labelled(figure)
    assert {"A", "B", "test error (%)", "difference from A"} <= set(texts(figure).splitlines())
    dots = figure.axes[0].lines[0].get_xdata()
    np.testing.assert_allclose(np.sort(dots), np.sort(A.values["test_error"]))
    drawn = power_figure(found)
    labelled(drawn)
    np.testing.assert_allclose(drawn.axes[0].lines[0].get_ydata(), [100 * p for _, p in only(found)["power"]])


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([A], "A: one run is no comparison"),
        ([A, A], "A: two runs have this name"),
        (
            [A, Recorded("D", "", {"width": HARD}, A.seeds)],
            "no metric in common: A has test_error, test_loss; D has width",
        ),
        ([A, Recorded("D", "", {"test_error": np.ones(1)}, (0,))], "D: has 1 seed; give at least two"),
        ([A, B._replace(values={"test_error": np.full(20, np.nan)})], "A: has 0 seeds that did not diverge"),
    ],
)
def test_what_cannot_be_compared_is_told_why(runs, said):
    with pytest.raises(UserError, match=said):
        compare(runs)


def test_an_unknown_metric_is_refused():
    with pytest.raises(UserError, match="did you mean 'test_error'"):
        compare([A, B], metric="test_eror")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    small = ["--data", "xor", "--widths", "2", "4", "2", "--batch-size", "50", "--epochs", "2", "--seeds", "3"]
    main(["sweep", *small, "--over", "learning_rate", "0.01", "0.1", "--out", str(folder / "sweep")])
    return folder


def test_each_setting_of_a_sweep_is_a_run_paired_with_the_others(folders, monkeypatch, capsys):
    monkeypatch.chdir(folders)
    capsys.readouterr()
    main(["compare", "sweep", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["baseline"] == "learning rate 0.01"
    row = only(found)
    assert (row["run"], row["paired"], row["seeds"]) == ("learning rate 0.1", True, [3, 3])
    summary = json.loads((folders / "sweep" / "summary.json").read_text())
    means = [group["test_error"]["mean"] for group in summary["settings"]]
    assert row["mean"] == pytest.approx(means[1] - means[0])
    page = (folders / "compare.html").read_text()
    assert "test error (%): learning rate 0.01 and learning rate 0.1" in page
    assert "paired by seed, as both have the same seeds and data" in page


def test_a_study_is_a_run(tmp_path):
    """Of the tidy table of a study only the last epoch counts, and a network that diverged counts as missing."""
    rows = [
        (seed, epoch, split, metric, value + seed / 10 + epoch)
        for seed in (7, 8)
        for epoch in (0, 2)
        for split in ("train", "test")
        for metric, value in (("loss", 1.0), ("accuracy", 0.5))
    ]
    frame = pd.DataFrame(rows, columns=["seed", "epoch", "split", "metric", "value"])
    frame.loc[(frame["seed"] == 8) & (frame["metric"] == "loss"), "value"] = np.inf
    (tmp_path / "run").mkdir()
    frame.to_parquet(tmp_path / "run" / "metrics.parquet")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"config": {"data": "xor"}}))
    (run,) = read_runs(tmp_path / "run")
    assert (run.name, run.seeds) == ("run", (7, 8))
    np.testing.assert_allclose(run.values["test_error"], [100 * (1 - 3.2), np.nan])
    np.testing.assert_allclose(run.values["train_loss"], [3.7, np.nan])


def test_settings_of_a_sweep_over_the_data_are_not_paired(tmp_path):
    rows = [
        (size, noise, seed, 1, "test", "loss", seed + noise)
        for size in (8.0, np.nan)
        for noise in (0.0, 0.2)
        for seed in (1, 2)
    ]
    fields = ["batch_size", "label_noise"]
    columns = [*fields, "seed", "epoch", "split", "metric", "value"]
    pd.DataFrame(rows, columns=columns).to_parquet(tmp_path / "sweep.parquet")
    over = [[field, "x"] for field in fields]
    (tmp_path / "config.json").write_text(json.dumps({"config": {"data": "xor", "over": over}}))
    runs = read_runs(tmp_path)
    names = [run.name.partition(": ")[2] for run in runs]
    assert names[1:3] == ["batch size 8.0, label noise 0.2", "batch size None, label noise 0.0"]
    paired = [row["paired"] for row in compare(runs)["comparisons"]]
    assert paired == [False, True, False]


def log(folder, points):
    """By tag, pairs of step and value, as PyTorch's SummaryWriter writes them."""
    with SummaryWriter(str(folder)) as writer:
        for tag, curve in points.items():
            for step, value in curve:
                writer.add_scalar(tag, value, step)


def test_event_files_are_runs_by_the_seed_in_their_folders_name(tmp_path):
    for seed in (0, 1, 10):
        log(tmp_path / "logs" / "adam" / f"seed_{seed}", {"val/loss": [(0, 9.0), (5, 1.0 + seed)]})
        log(tmp_path / "logs" / f"sgd-Seed={seed}", {"val/loss": [(5, 2.0 + seed)], "epoch": [(0, 1.0)]})
    log(tmp_path / "logs" / "adam" / "mean over seeds", {"val/loss": [(5, 99.0)]})
    adam, sgd = read_runs(tmp_path / "logs")
    assert [adam.name, sgd.name] == ["logs: adam", "logs: sgd"]
    assert dict(zip(adam.seeds, adam.values["val_loss"], strict=True)) == {0: 1.0, 1: 2.0, 10: 11.0}
    row = only(compare([adam, sgd]), "val_loss")
    assert (row["paired"], row["mean"]) == (True, 1.0)
    (alone,) = read_runs(tmp_path / "logs" / "adam")
    assert alone.name == "adam"


def test_events_of_a_network_that_ended_early_are_no_final_figures(tmp_path):
    """Or that has no such curve; a file that goes on where another ended counts with it."""
    log(tmp_path / "seed 1", {"loss": [(1, 3.0)]})
    log(tmp_path / "seed 1", {"loss": [(2, 2.0)]})
    log(tmp_path / "seed 2", {"loss": [(1, 1e30)]})
    log(tmp_path / "seed 3", {"loss": [(2, 4.0)], "accuracy": [(2, 0.5)]})
    (run,) = read_runs(tmp_path)
    values = {tag: dict(zip(run.seeds, found, strict=True)) for tag, found in run.values.items()}
    assert values == {"loss": {1: 2.0, 2: pytest.approx(np.nan, nan_ok=True), 3: 4.0}} | {
        "accuracy": {1: pytest.approx(np.nan, nan_ok=True), 2: pytest.approx(np.nan, nan_ok=True), 3: 0.5}
    }


def test_event_files_without_a_seed_are_refused(tmp_path):
    log(tmp_path / "first", {"loss": [(1, 3.0)]})
    with pytest.raises(UserError, match="no folder of them is named after a seed, such as seed_3"):
        read_runs(tmp_path)


def write(path, text):
    path.write_text(text)
    return path


def test_anybodys_table_is_read(tmp_path):
    table = write(tmp_path / "all.csv", "Method;trial;score;note\nx;0;1.5;a\nx;1;2.5;b\ny;1;3.5;c\ny;0;4.5;d\n")
    x, y = read_runs(table)
    assert (x.name, y.name, y.seeds) == ("x", "y", (1, 0))
    assert list(x.values) == ["score"]
    row = only(compare([x, y]), "score")
    assert row["paired"] and row["mean"] == 2.0
    one = pd.DataFrame({"s": [1, 2], "score": [0.0, 1.0]})
    one.to_parquet(tmp_path / "one.parquet")
    (run,) = read_runs(tmp_path / "one.parquet", seed_column="s")
    assert (run.name, run.seeds) == ("one", (1, 2))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a,b\n1,2\n", [], "no column of seeds among a, b; name it with --seed-column"),
        ("seed,b\n1,x\n", [], "no column of numbers beside seed"),
        ("seed,b\n1,2\n1,3\n", [], "seed 1 of table stands there twice"),
        ("seed,b\n1,2\n", ["--seed-column", "c"], "--seed-column c: "),
        ("seed,b\n1,2\n", ["--run-column", "c"], "--run-column c: "),
        ("", [], "cannot be read as a table"),
    ],
)
def test_a_bad_table_is_one_line_and_exit_code_2(text, options, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(write(tmp_path / "table.csv", text)), *options, "--out", str(tmp_path / "page.html")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert said in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give the folders of two runs"),
        (["nowhere"], "nowhere: there is no such file or folder"),
        (["."], "holds no metrics.parquet"),
        (["{sweep}", "--out", "/nowhere/page.html"], "--out /nowhere/page.html: cannot be written"),
    ],
)
def test_what_cannot_be_read_or_written_is_one_line(arguments, said, folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["compare", *[part.format(sweep=folders / "sweep") for part in arguments]])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert said in error
