"""The way a training took through the space of parameters, drawn on a plane, and what the drawing hides."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from mlpjax.errors import UserError
from mlpjax.landscape.directions import displaced
from mlpjax.landscape.linear_algebra import one_by_one
from mlpjax.landscape.loss import require_same_form, whole_loss
from mlpjax.landscape.loss_surface import points_at_once, require_directions
from mlpjax.task import MeanLoss


def random_walk_shares(points: int, k: int) -> Float[np.ndarray, " k"]:
    """Variance that each principal component of a mere random walk explains: the null beside `pca`'s.

    share_i = 3 / (2 (T^2 - 1) sin^2(pi i / 2T)), for T points of a walk with independent steps in many more dimensions
    than T: the inverses of the eigenvalues of a path's graph Laplacian, which add up to 2 (T^2 - 1) / 3. For large T it
    is 6 / (pi^2 i^2): 61 % in the first component and 15 % in the second, whatever the network learns.

    Args:
        points: T, at least 2, the start among them.
        k: how many components, 1..T - 1.

    Returns:
        The shares, in [0, 1]; all T - 1 add up to 1.

    Raises:
        UserError: fewer components than 1, or more than T - 1.

    Source: Antognini and Sohl-Dickstein, PCA of high dimensional random walks with comparison to neural network
    training, arXiv:1806.08805.
    """
    if not 1 <= k < points:
        raise UserError(f"k {k}: at least 1, and at most {points - 1} for a walk of {points} points")
    i = np.arange(1, k + 1)
    return 3 / (2 * (points**2 - 1) * np.sin(np.pi * i / (2 * points)) ** 2)


def project(
    trajectory: PyTree, centre: PyTree, axes: PyTree
) -> tuple[Float[Array, "points k"], Float[Array, " points"]]:
    """The nearest points of a plane: coordinates c that minimise ||theta_t - centre - sum_i c_i a_i||.

    Args:
        trajectory: theta_t, along a leading axis of time.
        centre: where the coordinates are 0.
        axes: a, along a leading axis of k; of any length, at any angle to each other.

    Returns:
        The coordinates, in units of the axes' lengths, and each point's distance from the plane.

    Raises:
        UserError: the trajectory, the centre and the axes are not of the same form, or an axis is known to have no
            length.
    """
    require_same_form(jax.tree.map(lambda leaf: leaf[0], trajectory), centre)
    require_directions(centre, axes, jnp.shape(jax.tree.leaves(axes)[0])[0])
    gram = jax.vmap(jax.vmap(optax.tree.vdot, (None, 0)), (0, None))(axes, axes)

    def one(point: PyTree) -> tuple[Float[Array, " k"], Float[Array, ""]]:
        away = optax.tree.sub(point, centre)
        coordinates = one_by_one(jnp.linalg.solve)(gram, jax.vmap(optax.tree.vdot, (0, None))(axes, away))
        return coordinates, optax.tree.norm(displaced(away, axes, -coordinates))

    return jax.lax.map(one, trajectory)


class Track(NamedTuple):
    """A trajectory drawn on a plane, with what the drawing hides."""

    coordinates: Float[Array, "points k"]
    """Where each point is drawn, in units of the axes' lengths."""
    distances: Float[Array, " points"]
    """How far from the plane it really is, in units of the parameters."""
    losses: Float[Array, " points"]
    """Its own loss."""
    projected_losses: Float[Array, " points"]
    """The loss where it is drawn: what the picture shows. Where the two differ, the picture misleads."""


def track(
    loss: MeanLoss,
    trajectory: PyTree,
    data: PyTree,
    centre: PyTree,
    axes: PyTree,
    batch_size: int | None = None,
) -> Track:
    """Draw a trajectory on a plane: L(theta_t) beside L(P theta_t), with P the projection on the plane.

    Args:
        loss: the mean loss, of parameters and data.
        trajectory: theta_t, along a leading axis of time.
        data: examples are the rows of every leaf.
        centre: where the plane's coordinates are 0.
        axes: the directions that span it, along a leading axis of k.
        batch_size: examples at a time, at least 1; None: all at once.

    Returns:
        Coordinates, distances from the plane, and both losses.

    Raises:
        UserError: what `project` refuses.
    """
    coordinates, distances = project(trajectory, centre, axes)

    def both(point_and_place: tuple[PyTree, Float[Array, " k"]]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        point, place = point_and_place
        drawn = displaced(centre, axes, place)
        return whole_loss(loss, point, data, batch_size), whole_loss(loss, drawn, data, batch_size)

    losses, projected = jax.lax.map(both, (trajectory, coordinates), batch_size=points_at_once(centre))
    return Track(coordinates, distances, losses, projected)
