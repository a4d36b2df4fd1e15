"""The experiment on spurious minima: its loss in closed form, the published minimum, and its contract."""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_experiment
from hypothesis import given
from hypothesis import strategies as st

from mlpjax.claims import published_rate, run_experiment
from mlpjax.landscape.curvature import dense, hessian_product
from mlpjax.lift import run

pytestmark = pytest.mark.usefixtures("optimised")  # thousands of steps of descent


@pytest.fixture(scope="module")
def spurious() -> ModuleType:
    return load_experiment("spurious_minima")


def gradient_by_hand(students: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """The gradient of the source's section 4, by angles: rows are students."""

    def part(others: np.ndarray) -> np.ndarray:
        lengths, other_lengths = np.linalg.norm(students, axis=1), np.linalg.norm(others, axis=1)
        angles = np.arccos(np.clip(students @ others.T / np.outer(lengths, other_lengths), -1, 1))
        along = (np.sin(angles) @ other_lengths / lengths)[:, None] * students
        return (along + (np.pi - angles) @ others) / (2 * np.pi)

    return part(students) - part(teacher)


def test_loss_is_the_mean_over_gaussian_inputs(spurious: ModuleType) -> None:
    rng = np.random.default_rng(0)
    students, teacher = rng.standard_normal((4, 3)), rng.standard_normal((2, 3))
    x = rng.standard_normal((400_000, 3))
    errors = np.maximum(x @ students.T, 0).sum(axis=1) - np.maximum(x @ teacher.T, 0).sum(axis=1)
    squares = errors**2 / 2
    with jax.enable_x64(True):
        loss = float(spurious.population_loss(jnp.asarray(students), jnp.asarray(teacher)))
    assert abs(loss - squares.mean()) < 4 * squares.std() / np.sqrt(len(squares))


def test_gradient_agrees_with_the_formula_by_angles(spurious: ModuleType) -> None:
    rng = np.random.default_rng(1)
    teacher = np.eye(5)
    for students in (rng.standard_normal((6, 5)), np.eye(5), np.vstack([np.eye(5), 0.3 * np.eye(5)[:1]])):
        with jax.enable_x64(True):
            found = jax.jit(jax.grad(spurious.population_loss))(jnp.asarray(students), jnp.asarray(teacher))
        np.testing.assert_allclose(found, gradient_by_hand(students, teacher), atol=1e-14)


def test_hessian_at_the_teacher_is_the_known_one(spurious: ModuleType) -> None:
    k = 4
    expected = np.zeros((k, k, k, k))
    for i in range(k):
        for j in range(k):
            mixed = np.zeros((k, k))
            mixed[i, j] = mixed[j, i] = 1
            expected[i, :, j] = np.eye(k) / 2 if i == j else (np.pi / 2 * np.eye(k) + mixed) / (2 * np.pi)
    with jax.enable_x64(True):
        students = jnp.eye(k, dtype=jnp.float64)
        found = jax.jit(lambda w: dense(hessian_product(spurious.population_loss, w, students), w))(students)
    np.testing.assert_allclose(found, expected.reshape(k * k, k * k), atol=1e-7)


def test_published_minimum_is_stationary_in_the_closed_form(spurious: ModuleType) -> None:
    weights = spurious.published_minimum()
    assert np.linalg.norm(gradient_by_hand(weights, np.eye(7))) < 1e-9
    with jax.enable_x64(True):
        loss = spurious.population_loss(jnp.asarray(weights), jnp.eye(7, dtype=jnp.float64))
    assert float(loss) == pytest.approx(0.02320271, abs=5e-9)
    assert sum(times for _, times in spurious.VALUES.values()) == 49


@given(st.permutations(range(7)), st.permutations(range(7)), st.integers(0, 2**16), st.booleans())
def test_canonical_form_undoes_permutations(
    spurious: ModuleType, rows: list[int], columns: list[int], seed: int, symmetric: bool
) -> None:
    weights = spurious.published_minimum() if symmetric else np.random.default_rng(seed).standard_normal((7, 7))
    noise = np.random.default_rng(seed).uniform(-1e-10, 1e-10, (7, 7))
    shuffled = (weights + noise)[rows][:, columns]
    np.testing.assert_allclose(spurious.canonical(shuffled), spurious.canonical(weights), atol=1e-9)


@pytest.mark.parametrize(("students", "teachers"), [(3, 3), (4, 3)])
def test_descent_agrees_with_gradient_descent_by_hand(spurious: ModuleType, students: int, teachers: int) -> None:
    with jax.enable_x64(True):
        teacher = jnp.eye(teachers, dtype=jnp.float64)
        work = spurious.make_descent(students, teachers)
        keys = jax.vmap(jax.random.key)(jnp.arange(3))
        found, _ = run(work, keys, teacher, chunk=2)
        starts = jax.jit(jax.vmap(lambda key: work.start(key, teacher).students))(keys)
        loss = jax.jit(spurious.population_loss)
        for i, weights in enumerate(np.array(starts)):
            steps = 0
            while np.linalg.norm(gradient := gradient_by_hand(weights, np.eye(teachers))) > spurious.STOP:
                if students > teachers and loss(weights, teacher) <= spurious.SPURIOUS:
                    break
                weights, steps = weights - 0.1 * gradient, steps + 1
            assert found.steps[i] == steps
            np.testing.assert_allclose(found.students[i], weights, atol=1e-9)


def test_what_was_published(spurious: ModuleType) -> None:
    """Safran and Shamir (2018), table 1, and the runs that their repository OneLayerGDconvergence stores."""
    assert spurious.RATES == {6: 3, 7: 55, 8: 126, 9: 218, 10: 346}
    assert spurious.EXTRA == {6: 0, 7: 0, 8: 1, 9: 0, 10: 1}
    assert spurious.FAMILIES == {9: (213, 5), 10: (312, 34)}
    assert {k: sum(counts) for k, counts in spurious.FAMILIES.items()} == {k: spurious.RATES[k] for k in (9, 10)}
    # Wilson's interval of 55 in 1,000 is [4.25, 7.09] %.
    assert published_rate(55, 1000)["tolerance"] == pytest.approx(5.5 - 4.2504, abs=1e-3)


def test_a_minimum_that_no_seed_finds_keeps_its_rows(spurious: ModuleType) -> None:
    polished = SimpleNamespace(params=np.zeros((3, 7, 7)), loss=np.zeros(3))
    shape = SimpleNamespace(name="7 students of 7", seeds=3, polished=polished)
    with jax.enable_x64(True):
        claims = spurious.claims_of_seven(shape, np.zeros(3, bool))
    assert len(claims) == 6
    assert {claim.cells()[2] for claim in claims} == {"no seed is left"}


@pytest.mark.slow
def test_experiment_keeps_the_contract(spurious: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(spurious, "TEACHERS", (7,))
    arguments = ["--seeds", "12", "--out", str(tmp_path)]  # seed 8 ends in a spurious minimum
    run_experiment("spurious_minima", str(spurious.__doc__), spurious.body, 10_000, 300, arguments)
    results = json.loads((tmp_path / "results.json").read_text())
    claims = {claim["name"]: claim for claim in results["claims"]}
    assert claims["7 students of 7: spurious minima"]["published"] == pytest.approx(5.5)
    assert claims["7 students of 7: certified minima, spurious or not"]["measured"] == 100
    assert claims["8 students of 7: spurious minima"]["measured"] <= 100 / 12
    exact = [claim for name, claim in claims.items() if name.startswith("7 students of 7, ")]
    assert len(exact) == 6
    assert all(abs(claim["measured"] - claim["published"]) <= claim["tolerance"] for claim in exact)
    assert results["config"]["7 students of 7"]["longest gradient"] <= 1e-10
    for figure in ("spurious_minima_rates", "spurious_minima_weights"):
        assert (tmp_path / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
