import itertools
import math

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from mlpjax import MLP, Split, UserError, load, map_seeds, train_many
from mlpjax.landscape.learning_coefficient import ACCEPTANCE, deep_linear_coefficient, learning_coefficient
from mlpjax.recipe import Recipe
from mlpjax.stats import mean_ci
from mlpjax.task import classification, mean_loss

KEY = jax.random.key(0)
N = 1000
N_BETA = N / math.log(N)
ROWS = jnp.zeros(N)
"""Examples of a loss that is known without them: they only say how many there are."""
CROSSINGS = [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3), (3, 3)]
"""(p, q) of K = w_1^2p w_2^2q, whose learning coefficient is 1 / (2 max(p, q))."""


def deviations(found, exact):
    """How many standard errors the estimate is away."""
    chains = np.asarray(found.chains, np.float64)
    return (chains.mean(axis=-1) - exact) / (chains.std(axis=-1, ddof=1) / math.sqrt(chains.shape[-1]))


def crossing(w, powers):
    return jnp.prod(jnp.where(powers > 0, jnp.square(w), 1) ** jnp.maximum(powers, 1))


def exact_crossing(powers, n_beta=N_BETA, localisation=1.0):
    """E[n beta K] by the trapezoid rule in log |w|, where the integrand is smooth and falls off at both ends."""
    u = np.linspace(-60, 3, 1000)
    one, other = np.exp(u)[:, None], np.exp(u)[None]
    excess = n_beta * one ** (2 * powers[0]) * other ** (2 * powers[1])
    density = np.exp(-excess - localisation / 2 * (one**2 + other**2)) * one * other
    return np.sum(excess * density) / np.sum(density)


def of_crossings(keys, chains, burn_in, draws):
    """A row for each of the crossings, and one for each key."""

    def one(powers, key):
        return learning_coefficient(
            lambda w, _: crossing(w, powers), jnp.zeros(2), ROWS, key, chains=chains, burn_in=burn_in, draws=draws
        )

    lifted = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
    return lifted(jnp.array(CROSSINGS, jnp.float32), keys)


def test_normal_crossings_have_the_integral_that_quadrature_gives():
    found = of_crossings(jax.random.split(KEY, 1), chains=20, burn_in=3000, draws=3000)
    exact = np.array([exact_crossing(powers) for powers in CROSSINGS])
    assert (np.abs(deviations(found, exact[:, None])) < 4).all()
    np.testing.assert_allclose(np.mean(found.chains, axis=(1, 2)), exact, atol=0.03)
    # What the docstring says of the bias.
    np.testing.assert_allclose(exact[1], 0.36, atol=0.005)


@pytest.mark.slow
def test_the_interval_over_chains_covers_as_often_as_it_says():
    found = of_crossings(jax.random.split(KEY, 100), chains=10, burn_in=4000, draws=4000)
    for powers, repeats in zip(CROSSINGS, np.asarray(found.chains), strict=True):
        exact = exact_crossing(powers)
        covered = sum(low <= exact <= high for low, high in map(mean_ci, repeats))
        assert covered >= 90


@pytest.mark.parametrize("powers", [(0, 1), (0, 2), (0, 3), (1, 3)])
def test_with_more_examples_the_integral_tends_to_the_learning_coefficient(powers):
    truth = 1 / (2 * max(powers))
    off = [abs(exact_crossing(powers, n_beta) - truth) for n_beta in (1e2, 1e4, 1e8)]
    assert off[0] > off[1] > off[2]
    assert off[2] < 0.01


@pytest.mark.parametrize("powers", [(1, 1), (2, 2)])
def test_of_two_equal_powers_the_bias_falls_with_the_logarithm(powers):
    """lambda_n = lambda - (m - 1) / log n with m = 2, to first order."""
    truth = 1 / (2 * max(powers))
    bias = [exact_crossing(powers, n_beta) - truth for n_beta in (1e10, 1e20)]
    inverse = 1 / np.array(bias)
    np.testing.assert_allclose(np.diff(inverse), [-math.log(1e10)], rtol=0.1)


def regression(seed=0):
    """(x, y), the best weights in two leaves, and the eigenvalues of the Hessian."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 5)) * [0.2, 0.5, 1, 1, 2]
    y = x @ rng.normal(size=5) + rng.normal(size=N)
    best = jnp.asarray(np.linalg.lstsq(x, y)[0], jnp.float32)
    data = {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(y, jnp.float32)}
    return data, {"a": best[:3], "b": best[3:]}, np.linalg.eigvalsh(x.T @ x / N)


def half_squared_error(params, data):
    w = jnp.concatenate([params["a"], params["b"]])
    return jnp.mean((data["x"] @ w - data["y"]) ** 2) / 2


def test_a_regular_model_has_half_its_dimension_less_what_the_localisation_takes():
    data, params, curvatures = regression()
    found = jax.jit(
        lambda params, data: learning_coefficient(
            half_squared_error, params, data, KEY, chains=20, burn_in=500, draws=1000
        )
    )(params, data)
    share = N_BETA * curvatures / (N_BETA * curvatures + 1)
    assert abs(deviations(found, share.sum() / 2)) < 4
    np.testing.assert_allclose(np.mean(found.chains), 5 / 2, rtol=0.1)
    np.testing.assert_allclose(np.mean(found.acceptance), ACCEPTANCE, atol=0.03)
    low, high = mean_ci(np.asarray(found.drift))
    assert low < 0 < high


def test_away_from_a_minimum_the_estimate_is_what_the_integral_is_even_below_zero():
    """L = h w^2 / 2 around c: the density has the mean gamma c / (n beta h + gamma), and E the square of it more."""
    h, localisation = 0.7, 20.0
    centres = jnp.array([0.0, 0.05, 0.3])
    found = jax.jit(
        jax.vmap(
            lambda centre: learning_coefficient(
                lambda w, _: h * w**2 / 2,
                centre,
                ROWS,
                KEY,
                chains=100,
                burn_in=300,
                draws=300,
                localisation=localisation,
            )
        )
    )(centres)
    precision = N_BETA * h + localisation
    means = localisation * np.asarray(centres) / precision
    exact = N_BETA * h / 2 * (1 / precision + means**2 - np.asarray(centres) ** 2)
    assert exact[0] > 0 > exact[2]
    assert (np.abs(deviations(found, exact)) < 4).all()


def exact_reduced_rank(inputs, hidden, outputs, n_beta=N_BETA, localisation=1.0):
    """E[n beta |BA|^2 / 2], from the eigenvalues of AA': -d log Z / d log n beta, and Z is a Pfaffian (de Bruijn).

    Given A, B is normal. What is left is prod_{i<j} |s_i - s_j| prod_i f(s_i) over the eigenvalues.
    """
    count, size = min(inputs, hidden), max(inputs, hidden)
    u = np.linspace(-20, 5, 1000)
    s = np.exp(u)
    sign = np.sign(u[None] - u[:, None])

    def log_z(t):
        density = s ** ((size - count + 1) / 2) * np.exp(-localisation * s / 2)
        moments = density * (localisation + t * s) ** (-outputs / 2) * s ** np.arange(count)[:, None]
        skew = moments @ sign @ moments.T
        if count % 2:
            edge = moments.sum(axis=1)[:, None]
            skew = np.block([[skew, edge], [-edge.T, np.zeros((1, 1))]])
        return np.linalg.slogdet(skew)[1] / 2

    step = 1e-3
    return -(log_z(n_beta * math.exp(step)) - log_z(n_beta * math.exp(-step))) / (2 * step)


def of_reduced_rank(widths, chains, burn_in, draws):
    inputs, hidden, outputs = widths
    params = {"a": jnp.zeros((hidden, inputs)), "b": jnp.zeros((outputs, hidden))}

    def loss(params, _):
        return jnp.sum((params["b"] @ params["a"]) ** 2) / 2

    return jax.jit(
        lambda key: learning_coefficient(loss, params, ROWS, key, chains=chains, burn_in=burn_in, draws=draws)
    )(KEY)


@pytest.mark.parametrize(
    "widths",
    [
        (5, 3, 5),
        *(pytest.param(widths, marks=pytest.mark.slow) for widths in [(5, 4, 5), (4, 3, 8), (8, 3, 4), (3, 8, 4)]),
    ],
)
def test_reduced_rank_regression_has_the_integral_over_its_eigenvalues(widths):
    found = of_reduced_rank(widths, chains=20, burn_in=3000, draws=3000)
    exact = exact_reduced_rank(*widths)
    assert abs(deviations(found, exact)) < 4
    np.testing.assert_allclose(np.mean(found.chains), exact, rtol=0.03)


@pytest.mark.parametrize(
    ("widths", "truth"), [((5, 3, 5), 6.5), ((5, 4, 5), 8), ((4, 3, 8), 6), ((8, 3, 4), 6), ((3, 8, 4), 6)]
)
def test_reduced_rank_regression_tends_to_its_learning_coefficient(widths, truth):
    assert deep_linear_coefficient(widths, 0) == truth
    off = [truth - exact_reduced_rank(*widths, n_beta) for n_beta in (1e2, 1e3, 1e4)]
    assert off[0] > off[1] > off[2] > 0


def aoyagi_and_watanabe(inputs, hidden, outputs, rank):
    """Reduced-rank regression, in the four cases of the paper of 2005."""
    if outputs + rank <= inputs + hidden and inputs + rank <= outputs + hidden and hidden + rank <= inputs + outputs:
        odd = (inputs + hidden + outputs + rank) % 2
        squares = (hidden + rank) ** 2 + inputs**2 + outputs**2
        pairs = (hidden + rank) * (inputs + outputs) + inputs * outputs
        return (2 * pairs - squares + odd) / 8
    if inputs + hidden < outputs + rank:
        return (hidden * inputs - hidden * rank + outputs * rank) / 2
    if outputs + hidden < inputs + rank:
        return (hidden * outputs - hidden * rank + inputs * rank) / 2
    return inputs * outputs / 2


def test_two_layers_of_weights_have_aoyagis_and_watanabes_coefficient():
    sizes = range(1, 7)
    for widths in itertools.product(sizes, sizes, sizes):
        for rank in range(min(widths) + 1):
            assert deep_linear_coefficient(widths, rank) == aoyagi_and_watanabe(*widths, rank), (widths, rank)


@pytest.mark.parametrize(
    ("widths", "rank", "by_hand"),
    [
        ((4, 3), 2, 6),  # no hidden layer: regular, d / 2
        ((3, 4, 5, 3), 3, 4.5),  # of full rank: as the matrix itself
        ((1, 1), 0, 0.5),
        ((1, 1, 1), 0, 0.5),  # (w_1 w_2)^2, and so on: normal crossings
        ((1, 1, 1, 1, 1, 1), 0, 0.5),
        ((1, 7, 1), 0, 0.5),  # (a . b)^2
        ((3, 1, 2), 0, 1),  # |a|^2 |b|^2, min(3, 2) / 2
        ((3, 1, 1, 2), 0, 0.5),  # |a|^2 w^2 |b|^2
        ((2, 2, 2, 2), 0, 1.5),  # W_1 of rank 1, whose image W_2 loses: 1 + 2 directions
    ],
)
def test_small_deep_linear_networks_are_as_by_hand(widths, rank, by_hand):
    assert deep_linear_coefficient(widths, rank) == by_hand


def test_a_layer_more_lowers_the_coefficient_if_anything_and_a_wider_one_raises_it():
    for widths in itertools.product((1, 2, 3, 5), repeat=4):
        for rank in range(min(widths) + 1):
            found = deep_linear_coefficient(widths, rank)
            assert found == deep_linear_coefficient(widths[::-1], rank)
            assert found <= deep_linear_coefficient((*widths[:2], widths[3]), rank)
            assert found <= deep_linear_coefficient((widths[0], widths[1] + 1, *widths[2:]), rank)
            assert found <= widths[0] * widths[3] / 2


MODEL = MLP((4, 3, 2), activation="tanh")
LOSS = mean_loss(classification(MODEL, Recipe(loss="cross_entropy")))


def examples(n=30):
    rng = np.random.default_rng(1)
    return Split(jnp.asarray(rng.normal(size=(n, 4)), jnp.float32), jnp.arange(n) % 2)


@pytest.mark.slow
def test_a_network_has_the_integral_that_hamiltonian_monte_carlo_finds():
    """BlackJAX samples the same distribution around a trained network, of 17 parameters on 200 examples, by itself."""
    dataset, model, examples = load("xor", n=200), MLP((2, 3, 2), "tanh"), 200
    recipe = Recipe(batch_size=None, learning_rate=0.05, epochs=300, eval_every=300)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), train_many(model, recipe, dataset, [0]).params)
    loss, train = mean_loss(classification(model, recipe)), jax.tree.map(jnp.asarray, dataset.train)
    ours = learning_coefficient(loss, params, train, KEY, chains=16, draws=4000, burn_in=4000).chains
    centre, unravel = ravel_pytree(params)

    def excess(theta):
        return examples / math.log(examples) * (loss(unravel(theta), train) - loss(params, train))

    def log_density(theta):
        return -excess(theta) - jnp.sum((theta - centre) ** 2) / 2

    sampler = blackjax.hmc(log_density, 0.12, jnp.ones(len(centre)), num_integration_steps=12)

    def chain(key):
        def step(state, key):
            state, found = sampler.step(key, state)
            return state, (excess(state.position), found.acceptance_rate)

        _, (values, accepted) = jax.lax.scan(step, sampler.init(centre), jax.random.split(key, 2000))
        return jnp.mean(values[500:]), jnp.mean(accepted)

    theirs, accepted = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(1), 16))
    assert np.mean(accepted) > 0.9
    error = math.hypot(*(np.std(chains, ddof=1) / 4 for chains in (ours, theirs)))
    assert error < 0.03
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error
    assert np.mean(ours) < 0.3 * len(centre)  # far from the half of a regular model


def test_many_networks_at_once_and_in_batches_give_what_one_gives():
    data, keys = examples(), jax.random.split(KEY, 3)
    networks = jax.vmap(MODEL.init)(keys).params

    def estimate(own, data, batch_size=None):
        return learning_coefficient(LOSS, *own[:1], data, own[1], chains=3, burn_in=10, draws=7, batch_size=batch_size)

    together = map_seeds(estimate, (networks, keys), data, chunk=2)
    assert together.chains.shape == together.drift.shape == together.acceptance.shape == (3, 3)
    assert len(np.unique(together.chains)) == 9
    last = jax.tree.map(lambda leaf: leaf[2], networks), keys[2]
    alone = jax.jit(lambda own, data: estimate(own, data, batch_size=8))(last, data)
    np.testing.assert_allclose(together.chains[2], alone.chains, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(together.drift[2], alone.drift, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"chains": 1}, "chains 1: at least 2"),
        ({"draws": 1}, "draws 1: at least 2"),
        ({"burn_in": 0}, "burn_in 0: at least 1"),
        ({"localisation": 0.0}, "localisation 0.0: must be above 0"),
        ({"data": jnp.zeros(1)}, "examples 1: at least 2"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"params": jnp.full(2, jnp.nan)}, "not a finite number"),
    ],
)
def test_what_cannot_be_estimated_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        learning_coefficient(
            lambda w, _: jnp.sum(w**2), **{"params": jnp.zeros(2), "data": ROWS, "key": KEY, "chains": 2} | wrong
        )


@pytest.mark.parametrize(
    ("widths", "rank", "message"),
    [
        ((3,), 0, "at least two"),
        ((3, 0, 2), 0, "each at least 1"),
        ((3, 2, 4), 3, "rank 3: between 0 and 2"),
        ((3, 2, 4), -1, "rank -1: between 0 and 2"),
    ],
)
def test_networks_that_are_not_there_have_no_coefficient(widths, rank, message):
    with pytest.raises(UserError, match=message):
        deep_linear_coefficient(widths, rank)
