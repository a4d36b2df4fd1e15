"""The arithmetic of a training, by hand."""

import numpy as np
import pytest

from mlpjax.plumbing import rate
from mlpjax.plumbing.rate import float32_rate, flops_per_example


def test_flops_of_a_step_by_hand() -> None:
    # Forward, the weights' gradients, and the inputs' gradients of all layers but the first.
    forward = 784 * 256 + 256 * 128 + 128 * 10
    by_hand = 128 * (2 * forward + 2 * forward + 2 * (256 * 128 + 128 * 10))
    assert 128 * flops_per_example((784, 256, 128, 10)) == by_hand
    assert by_hand / 1e6 == pytest.approx(128.9, abs=0.05)


def test_the_rate_is_that_of_the_products_of_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices, products of 64 x 64, and a clock by which each turn takes a quarter of a second."""
    monkeypatch.setattr(rate, "SIDE", 64)
    monkeypatch.setattr(rate.time, "perf_counter", iter(np.arange(0, 100, 0.25)).__next__)
    assert float32_rate() == pytest.approx(2 * 2 * 64**3 / 0.25 / 1e9)
