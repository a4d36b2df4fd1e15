"""Polishing and classifying: functions with known stationary points, and SciPy's minimisers."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlpjax.data import Split
from mlpjax.errors import UserError
from mlpjax.landscape.minima import Certificate, Kind, Polished, classify, count_kinds, in_float64, polish
from mlpjax.lift import map_seeds
from mlpjax.models import MLP
from mlpjax.recipe import Recipe
from mlpjax.task import classification, mean_loss

NONE = jnp.zeros(0)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@functools.cache
def compiled(loss: Callable[..., Any], **options: Any) -> Callable[..., tuple[Polished, Certificate]]:
    @jax.jit
    def both(params: Any, data: Any) -> tuple[Polished, Certificate]:
        polished = polish(loss, params, data, **options)
        return polished, classify(loss, polished.params, data)

    return both


def end(loss: Callable[..., Any], start: Any, data: Any = NONE, **options: Any) -> tuple[Polished, Certificate]:
    """Polish and classify; compiled once for each loss and form of its arguments."""
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), start)
    return compiled(loss, **options)(params, jax.tree.map(jnp.asarray, data))


def quadratic(x: Any, data: Any) -> Any:
    matrix, centre = data
    return (x - centre) @ matrix @ (x - centre) / 2


def with_spectrum(spectrum: np.ndarray, seed: int) -> np.ndarray:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(spectrum),) * 2))
    return turn @ np.diag(spectrum) @ turn.T


def rosenbrock(x: Any, _: Any = None) -> Any:
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def double_well(x: Any, _: Any) -> Any:
    return (x**2 - 1) ** 2


def bent_cubic(x: Any, _: Any) -> Any:
    """A degenerate saddle at 0, a minimum at (-3/4, 0)."""
    return x[0] ** 3 + x[0] ** 4 + x[1] ** 2


def log_well(x: Any) -> Any:
    """A loss of logistic regression on two separable examples: its infimum 0 is at infinity."""
    return jnp.mean(jnp.logaddexp(0.0, jnp.array([[-1.0, -2.0], [-2.0, 1.0]]) @ x))


def test_quadratic_is_solved_in_one_full_step_and_certified() -> None:
    spectrum = np.array([0.5, 1.0, 2.0, 3.0, 10.0])
    centre = np.arange(5.0)
    polished, found = end(quadratic, np.zeros(5), (with_spectrum(spectrum, 0), centre), radius=100.0)
    np.testing.assert_allclose(polished.params, centre, atol=1e-12)
    assert polished.steps == 1
    assert polished.travel == pytest.approx(np.linalg.norm(centre))
    assert found.kind == Kind.MINIMUM
    np.testing.assert_allclose(found.eigenvalues, spectrum, rtol=1e-12)
    assert (found.negative, found.flat) == (0, 0)
    assert found.distance < 1e-12


@given(st.integers(0, 5), st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
@example(1, 3588)  # rounding of a steep loss looks like a slope
def test_quadratic_with_flat_directions_counts_them(flat: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    spectrum = np.concatenate([np.zeros(flat), 10 ** rng.uniform(-3, 3, 6 - flat)])
    with jax.enable_x64(True):
        _, found = end(quadratic, rng.standard_normal(6), (with_spectrum(spectrum, seed), rng.standard_normal(6)))
    assert found.gradient_norm <= 1e-10
    assert (found.negative, found.flat) == (0, flat)
    assert found.kind == (Kind.DEGENERATE if flat else Kind.MINIMUM)
    np.testing.assert_allclose(found.eigenvalues[flat:], np.sort(spectrum)[flat:], rtol=1e-8)


@pytest.mark.parametrize("start", [[-1.2, 1.0], [3.0, -4.0], [-1.2, 1.0, -0.5, 2.0]])
def test_rosenbrock_agrees_with_scipy(start: list[float]) -> None:
    polished, found = end(rosenbrock, np.array(start), radius=1.0)
    best = scipy.optimize.minimize(
        rosenbrock,
        polished.params,
        jac=jax.jit(jax.grad(rosenbrock)),
        hess=jax.jit(jax.hessian(rosenbrock)),
        method="trust-exact",
    )
    np.testing.assert_allclose(polished.params, best.x, atol=1e-9)
    assert found.kind == Kind.MINIMUM
    np.testing.assert_allclose(
        found.eigenvalues, np.linalg.eigvalsh(scipy.optimize.rosen_hess(np.asarray(polished.params))), rtol=1e-9
    )


def test_loss_never_rises_and_the_last_steps_double_the_digits() -> None:
    start = jnp.array([-1.2, 1.0])

    @jax.jit
    def after(steps: Any) -> tuple[Any, Any]:
        polished = polish(rosenbrock, start, NONE, steps=steps)
        return polished.loss, polished.gradient_norm

    total = int(end(rosenbrock, start)[0].steps)
    losses, norms = np.array([after(steps) for steps in range(1, total + 1)]).T
    assert (np.diff(losses, prepend=rosenbrock(start)) <= 0).all()
    assert norms[-1] < 1e-10
    assert norms[-2] < 1e-4
    assert norms[-1] < 100 * norms[-2] ** 2
    assert norms[-2] < 100 * norms[-3] ** 2


def test_polish_rolls_off_a_saddle_where_it_stands_on_its_very_top() -> None:
    def loss(p: Any, _: Any) -> Any:  # minima at (+-1, 0)
        return (p["x"] ** 2 - 1) ** 2 / 4 + p["y"] ** 2

    top = {"x": 0.0, "y": 0.0}
    before = jax.jit(functools.partial(classify, loss))(jax.tree.map(jnp.float64, top), NONE)
    assert before.kind == Kind.SADDLE
    assert (before.negative, before.flat) == (1, 0)
    np.testing.assert_allclose(before.eigenvalues, [-1, 2])
    polished, found = end(loss, top)
    assert found.kind == Kind.MINIMUM
    assert abs(float(polished.params["x"])) == pytest.approx(1)
    assert found.loss < 1e-20


@pytest.mark.parametrize(("start", "well"), [(0.7, 1.0), (1.6, 1.0), (-0.3, -1.0), (-2.0, -1.0)])
def test_double_well_ends_on_the_side_where_it_began(start: float, well: float) -> None:
    polished, found = end(double_well, start)
    assert float(polished.params) == pytest.approx(well)
    assert found.kind == Kind.MINIMUM
    assert found.eigenvalues[0] == pytest.approx(8)


def test_monkey_saddle_is_degenerate_not_a_minimum() -> None:
    found = jax.jit(lambda x: classify(lambda p, _: p[0] ** 3 - 3 * p[0] * p[1] ** 2, x, NONE))(jnp.zeros(2))
    assert found.kind == Kind.DEGENERATE
    assert found.flat == 2


@pytest.mark.parametrize("start", [(0.5, 0.5), (-0.1, 0.5), (0.0, 0.0)])
def test_cubic_saddle_is_left_from_above_from_below_and_from_its_top(start: tuple[float, float]) -> None:
    polished, found = end(bent_cubic, np.array(start))
    assert found.kind == Kind.MINIMUM
    np.testing.assert_allclose(polished.params, [-0.75, 0], atol=1e-9)
    assert polished.flat == 0


def test_all_zeros_of_xor_are_left_though_all_their_eigenvalues_but_one_are_0() -> None:
    model = MLP((2, 2, 1), "tanh", initializer="zeros")
    corners = Split(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0], np.int32))
    objective = mean_loss(classification(model, Recipe(loss="binary_cross_entropy")))
    zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)).params)
    polished, _ = end(objective, zeros, corners)
    assert polished.loss < 0.5  # that of zeros is ln 2


def test_a_saddle_that_no_line_shows_is_told_by_its_flat_directions() -> None:
    """Peano's: 0 is a minimum on every line through it, and none, as x = t, y = 2 t^2 shows."""
    polished, found = end(lambda x, _: (x[1] - x[0] ** 2) * (x[1] - 3 * x[0] ** 2), np.zeros(2))
    assert (polished.loss, polished.flat) == (0, 1)
    assert found.kind == Kind.DEGENERATE


def test_polish_crosses_no_barrier() -> None:
    def loss(x: Any, _: Any) -> Any:  # flat at 0, higher at 0.1 and 0.2, lower at 0.5
        return x**4 * (0.09 - x**2) + x**8

    polished, found = end(loss, 0.0)
    assert loss(0.5, None) < 0 < loss(0.1, None)
    assert (polished.params, polished.flat, found.kind) == (0, 1, Kind.DEGENERATE)


def bowl(x: Any, curvature: Any) -> Any:
    return curvature * x**2 / 2


classify_bowl = jax.jit(functools.partial(classify, bowl))
polish_bowl = jax.jit(functools.partial(polish, bowl, steps=5))


def kinked(x: Any, data: Any) -> Any:
    """A quadratic, with a wall (or, of negative height, a ridge) along a plane through its lowest point."""
    matrix, centre, normal, height = data
    return quadratic(x, (matrix, centre)) + height * jnp.abs((x - centre) @ normal)


classify_kinked = jax.jit(functools.partial(classify, kinked))


@given(st.integers(0, 2**16), st.floats(-10, 10).filter(lambda height: abs(height) > 1e-3))
@settings(max_examples=20, deadline=None)
def test_a_kink_along_any_plane_is_found_and_whether_the_loss_falls_from_it(seed: int, height: float) -> None:
    rng = np.random.default_rng(seed)
    centre, normal = rng.standard_normal((2, 4))
    with jax.enable_x64(True):
        data = (with_spectrum(np.array([0.5, 1.0, 2.0, 3.0]), seed), centre, normal, np.float64(height))
        found = classify_kinked(jnp.asarray(centre), data)
    assert found.kind == Kind.KINK
    steepest = abs(height) * np.linalg.norm(normal)
    if height < 0:  # one of four orthogonal directions is within 60 degrees of the steepest
        assert -steepest <= found.slope <= -steepest / 2
    else:
        assert 0 <= found.slope <= steepest


def test_where_a_kink_has_no_height_there_is_none() -> None:
    data = (with_spectrum(np.array([0.5, 1.0, 2.0, 3.0]), 0), np.arange(4.0), np.ones(4), np.float64(0))
    assert classify_kinked(jnp.arange(4.0), data).kind == Kind.MINIMUM


def two_sided(x: Any, data: Any) -> Any:
    """Slopes and curvatures of its own on either side of 0."""
    (left, right), (left_bend, right_bend) = data
    return jnp.where(x > 0, right * x + right_bend * x**2 / 2, left * x + left_bend * x**2 / 2)


classify_two_sided = jax.jit(functools.partial(classify, two_sided))


@pytest.mark.parametrize(
    ("slopes", "slope"),
    [((0, -10), -10), ((10, 0), -10), ((-1, 1), 1), ((0, 1), 0), ((0, 1e-4), 0), ((1, 2), -1)],
)
def test_kinks_are_told_with_their_lowest_slope(slopes: tuple[float, float], slope: float) -> None:
    found = classify_two_sided(jnp.float64(0), (np.array(slopes, float), np.array([2.0, 2.0])))
    assert found.kind == Kind.KINK
    assert found.slope == pytest.approx(slope)


@pytest.mark.parametrize(
    ("bends", "kind"),
    [((6, 8), Kind.MINIMUM), ((2, 4), Kind.DEGENERATE), ((2, -4), Kind.DEGENERATE), ((-6, -8), Kind.SADDLE)],
)
def test_where_the_curvature_jumps_a_minimum_needs_more_of_it(bends: tuple[float, float], kind: Kind) -> None:
    found = classify_two_sided(jnp.float64(0), (np.zeros(2), np.array(bends, float)))
    assert found.kind == kind
    assert found.eigenvalues == pytest.approx(bends[0])
    assert found.uncertainty == pytest.approx(np.sqrt(2) * abs(bends[1] - bends[0]))


def test_a_minimum_close_to_a_kink_is_one() -> None:
    found = classify_two_sided(jnp.float64(-1e-3), (np.array([2e-3, -10.0]), np.array([2.0, 2.0])))
    assert found.kind == Kind.MINIMUM


def test_long_parameters_on_their_way_run_away_whatever_the_gradient() -> None:
    def falling(x: Any, wall: Any) -> Any:
        return 1 / x[0] + jnp.maximum(x[0] - wall, 0) ** 2 + x[1] ** 2

    found = jax.jit(functools.partial(classify, falling))
    for length, aside, wall, kind in (
        (8000.0, 0.0, np.inf, Kind.RUNAWAY),
        (8000.0, 0.0, 8500.0, Kind.NOT_STATIONARY),
        (80.0, 0.0, np.inf, Kind.NOT_STATIONARY),
        (8000.0, 10.0, np.inf, Kind.RUNAWAY),
        (8000.0, 100.0, np.inf, Kind.NOT_STATIONARY),
    ):
        certificate = found(jnp.array([length, aside]), np.float64(wall))
        assert certificate.gradient_norm > 1e-8
        assert certificate.kind == kind


def test_floating_point_numbers_go_to_float64_and_all_others_stay() -> None:
    tree = in_float64({"w": np.float32([0.1, 2]), "y": np.array([1, 0], np.int32), "b": jnp.float64(3)})
    assert {name: leaf.dtype for name, leaf in tree.items()} == {"w": "float64", "y": "int32", "b": "float64"}
    assert tree["w"].tolist() == [float(np.float32(0.1)), 2]


def test_kinds_are_counted_by_name() -> None:
    counts = count_kinds(np.array([Kind.RUNAWAY, Kind.MINIMUM, Kind.RUNAWAY]))
    assert (counts["RUNAWAY"], counts["MINIMUM"], counts["SADDLE"]) == (2, 1, 0)
    assert set(counts) == {kind.name for kind in Kind}


def test_float32_is_not_certified() -> None:
    with pytest.raises(UserError, match=r"float32 cannot be certified: with jax\.enable_x64"):
        classify(rosenbrock, {"x": jnp.ones(2, jnp.float32)}["x"], NONE)


def test_a_loss_without_bound_is_no_minimum() -> None:
    polished, found = end(lambda x, _: x[0] ** 3 + x[1] ** 2, np.array([-0.1, 0.5]), steps=20)
    assert polished.loss < -1
    assert found.kind == Kind.NOT_STATIONARY


def test_quartic_bottom_is_degenerate_although_its_curvature_is_positive() -> None:
    _, found = end(lambda x, _: jnp.sum(x**4) + x[0] ** 2, np.array([0.3, 0.4]))
    assert found.eigenvalues[0] > 1e-8
    assert found.kind == Kind.DEGENERATE
    assert found.flat == 1


def test_a_bottom_flatter_than_a_quartics_is_near_and_no_runaway() -> None:
    """At x = 0.006 of x^6 the Newton step goes x / 5 = 0.0012 on: less than 1 / 200."""
    found = jax.jit(lambda x: classify(lambda p, _: p**6, x, NONE))(jnp.float64(6e-3))
    assert found.drift == pytest.approx(1.2e-3, rel=1e-6)
    assert found.kind == Kind.DEGENERATE


@pytest.mark.parametrize(("curvature", "kind"), [(2e-9, Kind.MINIMUM), (2e-11, Kind.DEGENERATE), (-2e-9, Kind.SADDLE)])
def test_curvature_shorter_than_the_longest_gradient_cannot_be_told_from_0(curvature: float, kind: Kind) -> None:
    found = classify_bowl(jnp.float64(0), np.float64(curvature))
    assert found.eigenvalues[0] == pytest.approx(curvature)
    assert (int(found.kind), int(found.flat)) == (kind, int(kind == Kind.DEGENERATE))


@pytest.mark.parametrize(("curvature", "steps"), [(-2e-9, 5), (-2e-13, 0)])
def test_only_a_saddle_whose_curvature_can_be_told_from_0_is_left(curvature: float, steps: int) -> None:
    assert polish_bowl(jnp.float64(0), np.float64(curvature)).steps == steps


def test_valley_of_a_rescaling_symmetry_is_degenerate() -> None:
    polished, found = end(lambda p, _: (p[0] * p[1] - 1) ** 2, np.array([3.0, 0.2]))
    assert polished.params[0] * polished.params[1] == pytest.approx(1)
    assert found.kind == Kind.DEGENERATE
    assert (found.negative, found.flat) == (0, 1)


@pytest.mark.parametrize(
    ("loss", "floor"),
    [
        (lambda x, _: jnp.exp(-x[0]) + x[1] ** 2, 0.0),
        (lambda x, _: 0.125 + 1 / jnp.sqrt(1 + jnp.exp(x[0])) + (x[1] - x[0] / 10) ** 2, 0.125),
        (lambda x, _: 0.125 + log_well(x), 0.125),
        (lambda x, _: 1 / (1 + x[0] ** 2) + x[1] ** 2, 0.0),
    ],
)
def test_minima_at_infinity_run_away(loss: Callable[..., Any], floor: float) -> None:
    polished, found = end(loss, np.array([0.3, 0.4]))
    assert found.kind == Kind.RUNAWAY
    assert polished.loss == pytest.approx(floor, abs=1e-6)
    assert polished.travel > 5


def test_certificate_agrees_with_scipy_on_a_network() -> None:
    model = MLP((2, 3, 1), "tanh", bias="same", initializer="normal")
    with jax.enable_x64(False):
        start = model.init(jax.random.key(2)).params
    rng = np.random.default_rng(1)
    split = Split(rng.standard_normal((40, 2)).astype(np.float32), rng.standard_normal((40, 1)))
    objective = mean_loss(classification(model, Recipe(loss="squared_error")))
    polished, found = end(objective, start, split, steps=300)
    assert found.kind == Kind.MINIMUM
    there, unravel = jax.flatten_util.ravel_pytree(polished.params)

    def loss(theta: Any) -> Any:
        return objective(unravel(jnp.asarray(theta)), split)

    slope, bend = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))
    best = scipy.optimize.minimize(
        jax.jit(loss), there + 1e-3, jac=slope, hess=bend, method="trust-exact", options={"gtol": 1e-9}
    )
    assert polished.loss == pytest.approx(best.fun, abs=1e-12)
    spectrum = np.linalg.eigvalsh(np.asarray(bend(there)))
    np.testing.assert_allclose(found.eigenvalues, spectrum, rtol=1e-6, atol=1e-13)


def wavy(x: Any, _: Any) -> Any:
    return rosenbrock(x) + jnp.sin(3 * x[0])


def test_lifted_over_networks_each_ends_as_it_does_alone() -> None:
    starts = np.random.default_rng(3).uniform(-2, 2, (12, 2))

    def work(x: Any, data: Any) -> tuple[Polished, Certificate]:
        polished = polish(wavy, x, data)
        return polished, classify(wavy, polished.params, data)

    together, certificates = map_seeds(work, jnp.asarray(starts), NONE, chunk=5)
    assert together.params.dtype == np.float64
    for i, start in enumerate(starts):
        alone, certificate = end(wavy, start)
        np.testing.assert_allclose(together.params[i], alone.params, atol=1e-9)
        assert certificates.kind[i] == certificate.kind == Kind.MINIMUM


def test_a_step_to_where_nothing_is_finite_is_taken_back() -> None:
    polished, found = end(lambda x, _: x - jnp.log(x), 0.05, radius=10.0)
    assert float(polished.params) == pytest.approx(1)
    assert found.kind == Kind.MINIMUM


def test_eigenvalues_are_found_where_lapack_gives_up_on_one_order_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    eigh = jnp.linalg.eigh

    def gives_up(matrix: Any) -> tuple[Any, Any]:
        values, vectors = eigh(matrix)
        failed = matrix[0, 0] < matrix[-1, -1]
        return jnp.where(failed, jnp.nan, values), jnp.where(failed, jnp.nan, vectors)

    monkeypatch.setattr(jnp.linalg, "eigh", gives_up)
    data = (jnp.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.5], [0.0, 0.5, 3.0]]), jnp.arange(3.0))
    polished = jax.jit(lambda x: polish(quadratic, x, data, radius=10.0))(jnp.zeros(3))
    np.testing.assert_allclose(polished.params, data[1], atol=1e-12)
    found = jax.jit(lambda x: classify(quadratic, x, data))(polished.params)
    assert found.kind == Kind.MINIMUM
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(data[0]))


def test_what_is_no_number_is_never_certified() -> None:
    found = jax.jit(lambda x: classify(lambda x, _: jnp.sum(jnp.abs(x) ** 1.5), x, NONE))(jnp.zeros(2))
    assert found.kind == Kind.NOT_STATIONARY


def test_budget_of_steps_is_kept() -> None:
    polished, found = end(rosenbrock, np.array([-1.2, 1.0]), steps=3)
    assert polished.steps == 3
    assert found.kind == Kind.NOT_STATIONARY


@pytest.mark.parametrize("options", [{"steps": 0}, {"gradient_norm": 0.0}, {"radius": -1.0}])
def test_polish_refuses_what_makes_no_sense(options: dict) -> None:
    with pytest.raises(UserError, match="must be positive"):
        polish(lambda p, _: p**2, jnp.float64(1), NONE, **options)


def test_classify_refuses_what_makes_no_sense() -> None:
    with pytest.raises(UserError, match="must be positive"):
        classify(lambda p, _: p**2, jnp.float64(1), NONE, flat=0.0)
    for function in (polish, classify):
        with pytest.raises(UserError, match="not a finite number"):
            function(lambda p, _: jnp.log(p), jnp.float64(-1), NONE)
