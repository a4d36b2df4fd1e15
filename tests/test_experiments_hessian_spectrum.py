"""The Hessian's outliers, on few coarse digits: eigenvalues against dense matrices, the rule against known ones."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_experiment
from jax.flatten_util import ravel_pytree

from mlpjax import MLP, Dataset, Recipe, Split, Variables, load, make_task, mean_loss, train_many
from mlpjax.claims import run_experiment
from mlpjax.landscape.curvature import Spectrum

EPOCHS = (0, 1, 4)


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    loaded: Any = load_experiment("hessian_spectrum")
    loaded.HIDDEN, loaded.MORE, loaded.LANCZOS_STEPS = (6, 5), 4, 100
    return loaded


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """600 and 100 digits of 16 coarse pixels each, as mnist5k has them."""
    whole = load("mnist5k")

    def few(split: Split, size: int) -> Split:
        coarse = split.x[:size].reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4)).astype(np.uint8)
        return Split(coarse.reshape(size, 16), split.y[:size])

    return Dataset("few", few(whole.train, 600), few(whole.valid, 0), few(whole.test, 100), classes=10)


def test_the_first_classes_are_all_examples_of_these(experiment: ModuleType, digits: Dataset) -> None:
    found = experiment.first_classes(digits, 3)
    assert found.classes == 3
    assert np.unique(found.train.y).tolist() == [0, 1, 2]
    assert len(found.train.y) == np.sum(digits.train.y < 3)
    np.testing.assert_array_equal(found.test.x, digits.test.x[digits.test.y < 3])


def test_the_largest_gap_in_the_logarithm_ends_the_outliers(experiment: ModuleType) -> None:
    values = np.array([[9.0, 8.0, 1.0, 0.9, 0.8], [100.0, 1.0, 0.9, 0.8, 0.1], [1.0, 1.0, 1.0, 1.0, 0.9]])
    assert experiment.outliers(values).tolist() == [2, 1, 4]


@pytest.mark.slow
def test_eigenvalues_are_those_of_the_dense_matrices(
    experiment: ModuleType, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}
    measure = experiment.measure
    monkeypatch.setattr(experiment, "measure", lambda *args: kept.setdefault("only", measure(*args)))
    run_experiment(
        "hessian_spectrum",
        "",
        lambda seeds, _, out: experiment.settle(digits, (3,), EPOCHS, seeds, out),
        2,
        2,
        ["--out", str(tmp_path)],
    )
    spectra = kept["only"]
    assert spectra.hessian.shape == spectra.residuals.shape == (2, len(EPOCHS), 7)
    assert (spectra.residuals < 1e-4 * spectra.hessian[:, :, :1]).all()

    model, three = MLP((16, *experiment.HIDDEN, 3)), experiment.first_classes(digits, 3)
    recipe = Recipe(epochs=EPOCHS[-1])
    snapshots = train_many(model, recipe, three, range(2), snapshots=EPOCHS).snapshots
    loss = mean_loss(make_task(model, recipe))
    train = Split(jnp.asarray(three.train.x), jnp.asarray(three.train.y))
    last = jax.tree.map(lambda leaf: leaf[:, -1], snapshots)
    flat, unravel = (
        jax.vmap(lambda params: ravel_pytree(params)[0])(last),
        ravel_pytree(model.init(jax.random.key(0)).params)[1],
    )
    dense = np.asarray(jax.jit(jax.vmap(jax.hessian(lambda flat: loss(unravel(flat), train))))(flat), float)
    expected = np.linalg.eigvalsh(dense)[:, ::-1][:, :7]
    np.testing.assert_allclose(spectra.hessian[:, -1], expected, rtol=1e-3, atol=1e-4 * expected.max())

    # The Gauss-Newton matrix by its definition, sum_i J_i' (diag p_i - p_i p_i') J_i / n, in NumPy.
    images = jnp.asarray(three.train.x, jnp.float32) / 255
    outputs = lambda flat: model.apply(Variables(unravel(flat)), images)[0]  # noqa: E731
    jacobian = np.asarray(jax.jit(jax.jacobian(outputs))(flat[1]), float)
    shares = np.asarray(jax.nn.softmax(outputs(flat[1])), float)
    bend = shares[:, :, None] * np.eye(3)[None] - shares[:, :, None] * shares[:, None, :]
    matrix = np.einsum("nai,nab,nbj->ij", jacobian, bend, jacobian, optimize=True) / len(images)
    expected = np.linalg.eigvalsh(matrix)[::-1][:7]
    np.testing.assert_allclose(spectra.gauss_newton[1], expected, rtol=1e-3, atol=1e-4 * expected[0])

    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    exact = experiment.outliers(spectra.hessian) == 2
    end = claims["K = 3: exactly 2 outliers at the end, after epoch 4"]
    assert (end["relation"], end["seeds"], end["measured"]) == ("every", 2, 100 * exact[:, -1].mean())
    assert claims["K = 3: exactly 2 outliers after epoch 1"]["measured"] == 100 * exact[:, 1].mean()
    assert claims["K = 3: outliers at the start"]["verdict"] == "new"
    # Every network has probes of its own.
    assert (spectra.density.weights[0] != spectra.density.weights[1]).any()
    for figure in ("training", "density"):
        assert (tmp_path / f"hessian_spectrum_{figure}.png").stat().st_size > 10_000


def test_one_network_at_one_epoch_refutes_what_is_said_of_all(experiment: ModuleType) -> None:
    """Twenty networks of 3 classes at 4 epochs, two outliers each but for one network at the third."""
    values = np.tile([9.0, 8.0, 1.0, 0.9, 0.8, 0.7, 0.6], (20, 4, 1))
    values[:, 0, 1] = 1.5  # before training there is one

    def verdicts(values: np.ndarray) -> dict[str, Any]:
        last = values[:, -1]
        spectra = experiment.Spectra(values, 0 * values, last, 0 * last, None, np.zeros(20))
        claims = experiment.claims_of((0, 1, 2, 4), spectra)
        return {claim.name.removeprefix("K = 3: "): claim for claim in claims}

    every = "exactly 2 outliers at every epoch after the start"
    found = verdicts(values)
    assert found["outliers at the start"].measured == 1
    assert found[every].verdict == "holds"
    assert found["eigenvalue 2 over eigenvalue 3"].measured == pytest.approx(8)
    values[4, 2, 1] = 1.5
    found = verdicts(values)
    assert (found[every].measured, found[every].verdict) == (95, "fails")
    assert [found[f"exactly 2 outliers after epoch {epoch}"].measured for epoch in (1, 2)] == [100, 95]
    for name in ("exactly 2 outliers at the end, after epoch 4", "exactly 2 outliers of the Gauss-Newton matrix"):
        assert found[name].verdict == "holds"


def test_the_drawn_density_begins_and_ends_below_its_floor(experiment: ModuleType) -> None:
    """One probe of each of two networks: 98 % of the eigenvalues at 0, the rest at 1."""
    nodes, weights = np.tile([0.0, 1.0], (2, 1, 1)), np.tile([0.98, 0.02], (2, 1, 1))
    largest = np.ones((2, 1, experiment.MORE + 3))
    density = Spectrum(nodes.astype(np.float32), weights.astype(np.float32))
    spectra = experiment.Spectra(largest, None, None, None, density, np.zeros(2))
    (panel,) = experiment.draw_density({3: spectra}).axes
    (line,) = (line for line in panel.get_lines() if line.get_label() == "mean density")
    x, y = line.get_data()
    assert np.isnan(y[[0, -1]]).all()
    np.testing.assert_allclose(x[[0, -1]], [-0.06, 1.06], rtol=1e-5)
    np.testing.assert_allclose(np.nanmax(y), 0.98 / (0.01 * np.sqrt(2 * np.pi)), rtol=0.02)
