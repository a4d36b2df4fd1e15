"""The parts of a variation: those that were put in, and SciPy's for the same."""

import numpy as np
import pytest
import scipy.stats

from mlpjax.effects import REST, SEED, Effect, effects


def by_name(found: list[Effect]) -> dict[str, Effect]:
    return {effect.name: effect for effect in found}


def test_what_is_put_in_comes_out() -> None:
    """Additive parts, each with a sum of squares by hand."""
    setting, seed = np.array([0.0, 1.0, 5.0]), np.array([-1.0, 1.0, 2.0, 2.0])
    found = by_name(effects(setting[:, None] + seed, ["rate"]))
    assert [*found] == ["rate", SEED, REST]
    np.testing.assert_allclose(found["rate"].squares, 4 * (4 + 1 + 9))
    np.testing.assert_allclose(found[SEED].squares, 3 * (4 + 0 + 1 + 1))
    np.testing.assert_allclose(found[REST].squares, 0, atol=1e-12)
    assert [effect.freedom for effect in found.values()] == [2, 3, 6]
    np.testing.assert_allclose(found["rate"].mean_square, 28)


def test_an_interaction_is_no_part_of_either_field() -> None:
    crossed = np.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None] + np.array([0.0, 0.3, 0.1])
    found = by_name(effects(crossed + 7, ["a", "b"]))
    assert [*found] == ["a", "b", "a x b", SEED, REST]
    np.testing.assert_allclose([found[name].squares for name in ("a", "b", REST)], 0, atol=1e-12)
    np.testing.assert_allclose(found["a x b"].squares, 12)


def test_the_parts_are_orthogonal_and_add_up() -> None:
    y = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    found = effects(y, ["a", "b", "c"])
    assert len(found) == 7 + 2
    np.testing.assert_allclose(sum(effect.squares for effect in found), ((y - y.mean()) ** 2).sum())
    np.testing.assert_allclose(sum(effect.share for effect in found), 1)
    assert sum(effect.freedom for effect in found) == y.size - 1


def test_the_squares_are_those_of_a_least_squares_fit() -> None:
    """An independent way: by how much the residual falls when indicators of a part are added to the rest."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(4, 6)) + rng.normal(size=(4, 1)) + rng.normal(size=6)
    rows, columns = np.indices(y.shape).reshape(2, -1)
    setting, seed = np.eye(4)[rows], np.eye(6)[columns]

    def residual(*designs: np.ndarray) -> float:
        design = np.concatenate(designs, axis=1)
        return float(((y.ravel() - design @ np.linalg.lstsq(design, y.ravel(), rcond=None)[0]) ** 2).sum())

    found = by_name(effects(y, ["rate"]))
    np.testing.assert_allclose(found["rate"].squares, residual(seed) - residual(seed, setting))
    np.testing.assert_allclose(found[SEED].squares, residual(setting) - residual(seed, setting))
    np.testing.assert_allclose(found[REST].squares, residual(seed, setting))


def test_with_two_settings_the_p_value_is_that_of_the_paired_t_test() -> None:
    y = np.random.default_rng(2).normal(size=(2, 9)) + np.array([[0.0], [0.8]])
    np.testing.assert_allclose(by_name(effects(y, ["rate"]))["rate"].p, scipy.stats.ttest_rel(*y).pvalue)


def test_nothing_varies_or_nothing_is_left() -> None:
    same = by_name(effects(np.ones((2, 3)), ["rate"]))
    assert np.isnan([same["rate"].share, same["rate"].p]).all()
    one = by_name(effects(np.array([[1.0], [2.0]]), ["rate"]))
    np.testing.assert_allclose(one["rate"].share, 1)
    assert np.isnan([one["rate"].p, one[REST].mean_square]).all()


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="2 axes for 2 fields"):
        effects(np.ones((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="not finite"):
        effects(np.array([[1.0, np.nan]]), ["a"])
