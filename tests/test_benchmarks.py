"""The benchmarks: rows by hand, the contract of the file, and the page made from the results."""

import importlib
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mlpjax
import mlpjax.data.images
from mlpjax import MLP, UserError, train_many
from mlpjax.data.decoder import decode
from mlpjax.plumbing.rate import flops_per_example
from mlpjax.train import epoch_order

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))
MEASURING = ("roofline", "against_peers", "jit_speed", "scaling", "landscape", "notebooks", "images", "convolution")


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks import each other, as Python finds them when one of them is run."""
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def common() -> ModuleType:
    return importlib.import_module("common")


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("page")


def test_row_compares_in_the_direction_of_its_unit(common: ModuleType) -> None:
    ours, peer = [1.0, 2.0, 4.0], [4.0, 8.0, 8.0]
    cost = common.Row("", "s", ours, peer, wanted=4.0)
    assert (cost.ours, cost.peer, cost.ratio, cost.met) == (2.0, 8.0, 4.0, True)
    rate = common.Row("", "GFLOP/s", ours, peer, wanted=0.3)
    assert (rate.ratio, rate.met) == (0.25, False)
    times_the_cost = common.Row("", "s", ours, peer, wanted=0.25, relation="at most")
    assert (times_the_cost.ratio, times_the_cost.met) == (0.25, True)
    alone = common.Row("", "s", ours, wanted=1.9, relation="at most")
    assert (alone.peer, alone.ratio, alone.met) == (None, None, False)
    assert common.Row("", "s", ours).met is None
    for row in (cost, rate, times_the_cost, alone):
        assert common.Row.from_json(json.loads(json.dumps(row.to_json()))).to_json() == row.to_json()


def test_a_slow_round_does_not_tip_the_ratio(common: ModuleType) -> None:
    assert common.Row("", "s", [1.0, 1.0, 30.0, 30.0, 1.0], [2.0, 2.0, 60.0, 60.0, 60.0]).ratio == 2.0


def test_cells_say_what_was_wanted_of_what(common: ModuleType) -> None:
    cells = [
        common.cells(common.Row("a", "s", [0.5], [2.0], 3.0)),
        common.cells(common.Row("b", "GFLOP/s", [240.0], [300.0], 0.9)),
        common.cells(common.Row("c", "s", [5.0], wanted=8.0, relation="at most")),
    ]
    assert cells == [
        ["a", "0.5", "2", "s", "4.00 x", "≥ 3 x", "yes"],
        ["b", "240", "300", "GFLOP/s", "0.80", "≥ 0.9", "no"],
        ["c", "5", "", "s", "", "≤ 8 s", "yes"],
    ]


def test_synthetic_digits_look_like_mnist(common: ModuleType) -> None:
    digits = common.synthetic_digits(2000, 100)
    assert digits.train.x.shape == (2000, 784)
    assert digits.train.x.dtype == np.uint8
    assert set(digits.train.y) == set(range(10))
    assert np.mean(digits.train.x > 0) == pytest.approx(0.2, abs=0.01)
    np.testing.assert_array_equal(digits.train.x, common.synthetic_digits(2000, 100).train.x)


def test_four_points_are_xor(common: ModuleType) -> None:
    x, y = common.four_points().train
    np.testing.assert_array_equal(x[:, 0] != x[:, 1], y)


def test_training_time_is_a_period_without_its_evaluation(common: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def train_many(_: Any, recipe: Any, __: Any, seeds: Any, **options: Any) -> Any:
        asked.update(recipe=recipe, seeds=seeds, options=options)
        return mlpjax.Trained(np.arange(2), {}, {"seconds": np.array([[1.0, 7.0], [1.0, 9.0]])})

    monkeypatch.setattr(mlpjax, "train_many", train_many)
    timing = common.time_training(None, common.OPTIMIZERS["SGD"], None, 2, 7, chunk=3)
    # Two starts of 1 s; periods of 7 s and 9 s, each seven epochs and an evaluation: 14 s for 14 seed-epochs.
    assert timing[:3] == (1.0, 1.0, 18.0)
    assert (asked["recipe"].epochs, asked["recipe"].eval_every, list(asked["seeds"])) == (7, 7, [0, 1])
    assert asked["options"] == {"chunk": 3}


def test_in_turn_measures_round_after_round_between_readings(
    common: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([10.0, 20.0, 30.0, 40.0, 50.0])
    monkeypatch.setattr(common, "Yardstick", lambda: lambda: next(readings))
    bench = common.Bench(common.Options(rounds=2), common.Console(quiet=True))
    order: list[str] = []
    rounds = bench.in_turn({name: lambda name=name: order.append(name) or name for name in "ab"})
    assert order == ["a", "b", "a", "b"]
    assert rounds["a"] == (["a", "a"], [15.0, 35.0])
    assert rounds["b"] == (["b", "b"], [25.0, 45.0])


def run(common: ModuleType, monkeypatch: pytest.MonkeyPatch, body: Any, *argv: str) -> None:
    """Run a benchmark in this process, where JAX has begun already, with few digits and a yardstick at hand."""
    monkeypatch.setattr(mlpjax, "use_all_cores", lambda: None)
    monkeypatch.setattr(common, "Yardstick", lambda: lambda: 300.0)
    monkeypatch.setattr(common, "load_digits", lambda options: common.synthetic_digits(20, 10))
    monkeypatch.setattr(common.jax.config, "update", lambda *setting: None)
    common.run_benchmark("fake", "What is it?", body, argv)


def test_a_benchmark_writes_what_the_contract_says(
    common: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = common.Row("fast", "s", [1.0], [2.0], 3.0)
    out = tmp_path / "new" / "fake.json"
    seen = []
    body = lambda bench: seen.append(bench.options) or common.Report([row], {"seeds": 2})  # noqa: E731
    run(common, monkeypatch, body, "--quick", "--out", str(out))
    assert seen[0].rounds == 1
    results = json.loads(out.read_bytes())
    check_contract(common, results, "fake")
    assert results["quick"]
    assert results["config"] == {"rounds": 1, "examples": 20, "seeds": 2}
    assert results["machine"]["yardstick"]["median"] == 300.0
    assert "too small to settle" in capsys.readouterr().out


def test_a_quick_run_writes_nothing_unasked_and_a_full_one_beside_the_others(
    common: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    body = lambda bench: common.Report([], {"options": str(bench.options)})  # noqa: E731
    run(common, monkeypatch, body, "--quick")
    assert list(tmp_path.iterdir()) == []
    run(common, monkeypatch, body)
    assert [file.name for file in tmp_path.iterdir()] == ["fake.json"]


def test_a_users_error_is_one_line(
    common: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(common, monkeypatch, lambda bench: common.Report([], {}), "--rounds", "0")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "error: --rounds 0: give at least 1\n"


def test_without_the_peers_it_says_how_to_install_them(common: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "peers", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"torch is not installed: pip install 'mlpjax\[peers\]'"):
        common.import_peers("peers")


def test_the_fastest_of_each_kind_of_peer_counts() -> None:
    against_peers = importlib.import_module("against_peers")
    names = [f"{peer}, {side}" for peer, sides in against_peers.SIDES.items() for side in sides]
    measured = {
        (optimizer, name): [against_peers.Cost(cost, 10 * cost)]
        for optimizer in ("SGD", "Adam")
        for name, cost in {
            "mlpjax": 1.0,
            "mlpjax, mixed precision": 0.5,
            **{name: 2.0 + place for place, name in enumerate(names)},
        }.items()
    }
    rows = against_peers.rows(measured, 64)
    best = {row.name: row.ratio for row in rows if row.wanted}
    assert best["SGD, 64 seeds, against PyTorch eager"] == 2.0
    assert best["Adam, 64 seeds, against the best of torch.compile and torch.func"] == 2.0 + names.index(
        "torch.compile, all cores"
    )
    any_precision = {row.name: row.ratio for row in rows}
    assert any_precision["Adam, 64 seeds in mixed precision, against the best peer in any precision"] == 2.0 / 0.5
    assert len(rows) == 2 * (6 + len(names) - 1) + 1  # plain eager is of a kind of its own
    assert rows[-1].ratio == 2.0 + names.index("torch.compile, all cores")


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_peers_of_torch_take_the_step_of_the_job(
    optimizer: str, networks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    peers = importlib.import_module("peers")
    rng = np.random.default_rng(0)
    x, y = rng.random((100, 784), np.float32), rng.integers(0, 10, 100)
    trained: list[Any] = []
    make_optimizer = peers.torch_optimizer

    def keep(name: str, parameters: Any, **options: Any) -> Any:
        trained.extend(parameters)
        return make_optimizer(name, trained, **options)

    monkeypatch.setattr(peers, "torch_optimizer", keep)
    epoch = peers.func(optimizer, x, y, networks=networks) if networks > 1 else peers.eager(optimizer, x, y)
    before = [parameter.detach().clone() for parameter in trained]
    epoch(100)  # one batch: the order of its rows does not matter
    for network in range(networks):
        own = (lambda leaf, network=network: leaf[network]) if networks > 1 else (lambda leaf: leaf)
        model = peers.network()
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), before, strict=True):
                parameter.copy_(own(value))
        torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        reference = {"SGD": (torch.optim.SGD, 0.1), "Adam": (torch.optim.Adam, 1e-3)}[optimizer]
        reference[0](model.parameters(), lr=reference[1]).step()
        for parameter, value in zip(model.parameters(), trained, strict=True):
            # Adam's first step is the gradient's sign, which rounding decides for the few gradients that are almost 0.
            close = torch.isclose(own(value), parameter, rtol=1e-4, atol=1e-5)
            assert close.float().mean() > 0.995


def test_scikit_learn_sees_every_example_once_an_epoch() -> None:
    pytest.importorskip("torch")
    peers = importlib.import_module("peers")
    x, y = np.zeros((300, 784), np.float32), np.arange(300) % 10
    model = []
    peers_classifier = peers.MLPClassifier
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "MLPClassifier", lambda *a, **k: model.append(peers_classifier(*a, **k)) or model[0])
        epoch = peers.scikit_learn("SGD", x, y)
    epoch(256)
    epoch(256)
    assert model[0].t_ == 512
    assert model[0].coefs_[0].shape == (784, 256)


def test_ours_and_the_peers_job_are_one() -> None:
    pytest.importorskip("torch")
    peers, common = importlib.import_module("peers"), importlib.import_module("common")
    assert (peers.WIDTHS, peers.BATCH) == (common.WIDTHS, common.BATCH)


@pytest.mark.parametrize("quick", [True, False])
def test_every_benchmark_asks_for_what_was_wanted(
    quick: bool, common: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "Yardstick", lambda: lambda: 300.0)
    monkeypatch.setattr(common, "load_digits", lambda options: common.synthetic_digits(60 * common.BATCH, 10))
    names = ("roofline", "jit_speed", "scaling", "images")
    roofline, jit_speed, scaling, images = map(importlib.import_module, names)
    gflop = 60 * common.BATCH * flops_per_example(common.WIDTHS) / 1e9
    monkeypatch.setattr(roofline, "time_training", lambda *a: common.Timing(gflop / 240.0, 1.0, 2.0, 3.0))
    monkeypatch.setattr(roofline, "time_two_starts", lambda: (9.0, 2.5))
    monkeypatch.setattr(roofline, "errors_by_precision", lambda epochs: {})
    monkeypatch.setattr(scaling, "time_processes", lambda *a: 1.0)
    for way in ("time_no_jit", "time_step", "time_epoch", "time_seeds"):
        monkeypatch.setattr(jit_speed, way, lambda *a: jit_speed.Cost(1.0, 2.0))
    monkeypatch.setattr(images, "measure_kind", lambda *a: images_measured(images))
    monkeypatch.setattr(images, "streamed_row", lambda _: common.Row("streamed", "images/s", [95.0], [100.0], 0.95))
    monkeypatch.setattr(scaling, "in_fresh_process", lambda train, problem, seeds, *a: scaling.Cost(1.0, 1.5, seeds))

    def rows(module: ModuleType) -> list[Any]:
        bench = common.Bench(common.Options(quick=quick, rounds=1), common.Console(quiet=True))
        report = module.measure(bench)
        json.dumps([row.to_json() for row in report.rows] + [report.config], allow_nan=False)
        return [row for row in report.rows if row.wanted is not None]

    wanted = [(row.relation, row.wanted, row.met) for row in rows(roofline)]
    at_least, at_most = "at least", "at most"
    assert wanted == [
        (at_least, 0.8, True),
        (at_least, 0.72, True),
        (at_least, 0.65, True),
        (at_least, 1.5, False),
        (at_most, 1.15, True),
        (at_most, 8.0, True),
        (at_most, 3.0, True),
    ]
    assert rows(roofline)[0].ratio == pytest.approx(240 / 300)
    assert rows(jit_speed) == []
    memory = {row.name.split(",")[0]: row for row in rows(scaling) if row.unit == "GB"}
    assert list(memory) == ["MNIST"]
    assert (memory["MNIST"].wanted, memory["MNIST"].relation, memory["MNIST"].met) == (2.0, "at most", True)
    wanted = [(row.relation, row.wanted, row.met) for row in rows(images)]
    of_a_kind = [(at_least, 0.9, False), (at_least, 1.5, True), (at_least, 10.0, True)]
    assert wanted == [*of_a_kind * 3, (at_least, 0.95, True)]


def test_pictures_in_a_file_and_on_the_device_are_trained_on_alike(
    common: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = importlib.import_module("images")
    monkeypatch.setattr(common, "Yardstick", lambda: lambda: 300.0)
    monkeypatch.setattr(images, "NETWORK", MLP((3 * images.SIDE**2, 2)))
    monkeypatch.setattr(images, "QUICK_STREAMED", 70)
    budgets = []

    def watched(*args: Any, memory_budget: int | None) -> Any:
        budgets.append(memory_budget)
        return train_many(*args, memory_budget=memory_budget)

    monkeypatch.setattr(images, "train_many", watched)
    bench = common.Bench(common.Options(quick=True, rounds=1), common.Console(quiet=True))
    row = images.streamed_row(bench)
    assert budgets == [1, None]
    assert row.ours > 0
    assert (row.peer or 0) > 0


def test_convolutions_are_set_against_the_better_form_of_every_peer() -> None:
    convolution = importlib.import_module("convolution")
    rates = {convolution.OURS: 320.0, convolution.WHOLE: 200.0, convolution.ALONE: 160.0, convolution.PLAIN: 100.0}
    rates |= {"PyTorch": 300.0, "PyTorch, a process a core": 340.0, "PyTorch, bfloat16": 500.0}
    first, *others = convolution.rows({name: [value] for name, value in rates.items()})
    assert (first.ours, first.peer, first.wanted, first.met) == (320, 340, 1.0, False)
    assert [row.peer for row in others] == [500, 100, 200, 160]
    without = {name: [value] for name, value in rates.items() if "PyTorch" not in name}
    assert [row.peer for row in convolution.rows(without)] == [100, 200, 160]


def test_notebooks_have_a_row_for_every_peer_of_their_job() -> None:
    notebooks = importlib.import_module("notebooks")
    measured = {
        (notebooks.DESCENT, "mlpjax"): [0.05],
        (notebooks.LOTTERY, "mlpjax"): [0.002],
        (notebooks.COEFFICIENT, "mlpjax"): [0.001],
        (notebooks.COEFFICIENT, notebooks.ALONE): [0.002],
        (notebooks.DESCENT, "a"): [1.0],
        (notebooks.DESCENT, "b"): [0.5],
        (notebooks.LOTTERY, "a"): [0.004],
        (notebooks.COEFFICIENT, f"devinterp, {notebooks.WHOLE}"): [0.01],
    }
    made = notebooks.rows(measured, notebooks.FULL, [30.0])
    assert [row.ratio for row in made] == pytest.approx([20.0, 10.0, 2.0, 10.0, 5.0, None])
    assert len(notebooks.SHAPES) == 19
    assert notebooks.SHAPES[-1] == (40, 300, 300, 10)


def test_the_masks_of_lottery_tickets_are_of_each_network() -> None:
    notebooks = importlib.import_module("notebooks")
    kernel = notebooks.draw_masks(2)["dense_1"]["kernel"]
    assert kernel.shape == (2, 500, 500)
    np.testing.assert_allclose(kernel.mean(axis=(1, 2)), notebooks.KEPT, atol=0.003)
    assert (kernel[0] != kernel[1]).any()


def test_the_peers_train_the_network_that_mlpjax_does() -> None:
    convolution, plain = map(importlib.import_module, ("convolution", "convolution_jax"))
    images = jax.ShapeDtypeStruct((1, convolution.SIDE, convolution.SIDE, 3), jax.numpy.float32)
    ours = jax.eval_shape(convolution.MODEL.init, jax.random.key(0), images)
    network = plain.Network(convolution.WIDTH, convolution.CLASSES)
    theirs = jax.eval_shape(network.init, jax.random.key(0), images)
    shapes = [leaf.shape for leaf in jax.tree.leaves(ours.params)]
    assert [leaf.shape for leaf in jax.tree.leaves(theirs["params"])] == shapes
    torch = pytest.importorskip("torch")
    theirs = importlib.import_module("convolution_torch").network(
        convolution.WIDTH, convolution.CLASSES, convolution.SIDE
    )
    assert isinstance(theirs, torch.nn.Sequential)
    assert sum(leaf.numel() for leaf in theirs.parameters()) == sum(np.prod(shape) for shape in shapes)


def images_measured(images: ModuleType) -> dict[str, Any]:
    """Two rounds of everything: of 100 pictures, Pillow decodes 50 a second in threads and 80 in processes."""
    return {
        "mlpjax": [images.Cost(decoding=1.5, first=2.0, second=0.1, further=0.05)] * 2,
        images.THREADS: [2.0] * 2,
        images.PROCESSES: [1.25] * 2,
        images.LOADER: [[[6.0, 3.0]]] * 2,
        f"{images.LOADER}, {images.PROCESSES}": [[[5.0, 4.0]]] * 2,
    }


def test_pictures_are_set_against_the_faster_pool_and_the_faster_loader() -> None:
    images = importlib.import_module("images")
    measured = images_measured(images)
    decoding, threads, processes, first, second, further = images.rows("small", 100, measured)
    assert (decoding.peer, threads.peer, processes.peer) == (80.0, 50.0, 80.0)
    assert decoding.ours == 102 / 1.5  # with a picture of each class to test
    assert (first.ratio, second.ratio, further.ratio) == (2.5, 30.0, 60.0)
    without = {name: values for name, values in measured.items() if not name.startswith(images.LOADER)}
    assert images.rows("small", 100, without) == [decoding, threads, processes]


def test_pictures_are_always_the_same_and_every_side_decodes_them_to_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, pillow = map(importlib.import_module, ("images", "images_pillow"))
    paths = images.write_pictures(tmp_path / "one", 5, (20, 16))
    again = images.write_pictures(tmp_path / "two", 5, (20, 16))
    contents = [Path(path).read_bytes() for path in paths]
    assert contents == [Path(path).read_bytes() for path in again]
    assert len({*contents}) == 5
    decoded: list[np.ndarray] = []
    monkeypatch.setattr(pillow.np, "asarray", lambda image, asarray=np.asarray: decoded.append(asarray(image)))
    assert pillow.seconds(paths, (6, 8), threads=1) > 0
    monkeypatch.undo()
    ours = [
        np.frombuffer(decode(io.BytesIO(content), (8, 6)).pixels, np.uint8).reshape(8, 6, 3) for content in contents
    ]
    np.testing.assert_array_equal(decoded, ours)
    torchvision = pytest.importorskip("torchvision")
    (own, _) = torchvision.datasets.ImageFolder(str(tmp_path / "one/train"), torchvision.transforms.Resize((8, 6)))[0]
    np.testing.assert_array_equal(np.asarray(own), ours[0])


def test_pictures_are_decoded_once_and_read_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = importlib.import_module("images")
    images.write_pictures(tmp_path / "pictures", 6, (20, 16))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: pytest.fail("the user's own cache"))
    decoded: list[str] = []
    real = mlpjax.data.images._decode_block
    monkeypatch.setattr(mlpjax.data.images, "_decode_block", lambda *asked: decoded.extend(asked[-1]) or real(*asked))
    seen: list[Any] = []
    cost = images.time_ours(tmp_path / "pictures", lambda key, train: seen.append(train))
    assert len(decoded) == 6 + 2
    assert [train.x.shape for train in seen] == [(6, images.SIDE, images.SIDE, 3)] * 3
    assert 0 < cost.decoding < cost.first
    assert cost.second > 0 < cost.further


def test_minibatches_are_those_of_training(common: ModuleType) -> None:
    images = importlib.import_module("images")
    n = 2 * common.BATCH + 50
    x = np.random.default_rng(0).integers(0, 256, (n, 2, 3, 3), np.uint8)
    key = jax.random.key(1)
    last, firsts = images.minibatches(key, mlpjax.Split(jnp.asarray(x), jnp.arange(n)))
    rows, weight = map(np.asarray, epoch_order(key, n, common.BATCH))
    assert sorted(rows[weight > 0]) == list(range(n))
    np.testing.assert_allclose(last.x, x[rows[-1]] / 255, rtol=1e-6)
    np.testing.assert_array_equal(last.y, rows[-1])
    np.testing.assert_allclose(firsts, x[rows[[0, 0, 1], 0], 0, 0, 0] / 255, rtol=1e-6)


def check_contract(common: ModuleType, results: dict[str, Any], name: str) -> None:
    """The keys that other tools read, and rows whose medians, ratio and verdict follow from their rounds."""
    assert {"benchmark", "quick", "data", "machine", "versions", "rows"} <= results.keys()
    assert results["benchmark"] == name
    assert {"device", "yardstick"} <= results["machine"].keys()
    assert {"jax", "mlpjax"} <= results["versions"].keys()
    for row in results["rows"]:
        assert {"name", "ours", "peer", "unit", "ratio", "wanted", "met"} <= row.keys()
        assert common.Row.from_json(row).to_json() == row, row["name"]


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_committed_results_keep_the_contract(file: Path, common: ModuleType) -> None:
    results = json.loads(file.read_bytes())
    check_contract(common, results, file.stem)
    assert not results["quick"], f"{file.name} is of a quick run"
    fewer = {"mnist5k": 5_000, "generated pictures": 5_000, "random images": 2_048}
    assert results["config"]["examples"] == fewer.get(results["data"], common.EXAMPLES)


def test_the_page_is_made_from_the_results(page: ModuleType) -> None:
    committed = page.PAGE.read_text(encoding="utf-8")
    assert committed == page.fill(committed, page.read_results(page.RESULTS)), "run: python benchmarks/page.py"
    assert all(f"<!-- {name} -->" in committed and f"`{name}.py`" in committed for name in MEASURING)


def test_the_page_shows_the_rows_where_their_markers_are(page: ModuleType, common: ModuleType) -> None:
    results = some_results(common)
    filled = page.fill("top\n<!-- scaling -->\nold\n<!-- end of scaling -->\nbottom\n", results)
    assert filled.startswith("top\n<!-- scaling -->\n") and filled.endswith("<!-- end of scaling -->\nbottom\n")
    assert "| SGD, 64 seeds, against torch.func | 1 | 2 | s per seed-epoch | 2.00 x | ≥ 3 x | no |" in filled
    assert "old" not in filled
    assert page.fill(filled, results) == filled
    assert page.MISSING in page.fill(filled, {})
    with pytest.raises(UserError, match="scaling"):
        page.fill("no place", results)


def test_the_figures_can_be_drawn(page: ModuleType, common: ModuleType) -> None:
    found = some_results(common)["scaling"]
    for draw in page.DRAWINGS.values():
        assert page.png(draw(found)).startswith(b"\x89PNG")


def some_results(common: ModuleType) -> dict[str, Any]:
    """Results with all that a table and a figure look at."""
    rows = [
        common.Row("SGD, 64 seeds, against torch.func", "s per seed-epoch", [1.0], [2.0], 3.0),
        common.Row("Adam, 64 seeds, against torch.func", "s per seed-epoch", [1.0], [2.0]),
        common.Row("memory", "GB", [1.0], wanted=2.0, relation="at most"),
        common.Row("64 seeds, SGD: share of the machine's rate", "GFLOP/s", [200.0], [300.0], 0.8),
        common.Row("jitted step against no jit", "µs per seed-step", [900.0], [40000.0]),
    ]
    curve = {"seeds": [1, 10], "seconds": [1.0, 0.5], "peak": [0.4, 0.5], "setting_up": [3.0, 3.0]}
    return {
        "scaling": {
            "benchmark": "scaling",
            "quick": False,
            "data": "synthetic digits",
            "machine": {
                "device": "cpu",
                "yardstick": {"median": 300.0, "min": 200.0, "max": 400.0, "unit": "GFLOP/s"},
            },
            "versions": {"jax": "0.10"},
            "seconds": 60.0,
            "config": {"rounds": 1, "examples": 60, "curves": {"MNIST, Adam": curve, "four-point XOR": curve}},
            "rows": [row.to_json() for row in rows],
        }
    }
