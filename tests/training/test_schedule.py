"""pipeline.training.loop.schedule: learning rates with one warm-up and one cosine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.loop.schedule import lr_factor


def test_warm_up_then_half_a_cosine() -> None:
    factors = [lr_factor(step, 11, 2, 0.1) for step in range(11)]
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert factors[6] == pytest.approx(0.1 + 0.9 / 2)
    assert factors[10] == pytest.approx(0.1)


@given(
    total=st.integers(1, 300),
    warmup=st.integers(0, 400),
    min_frac=st.floats(1e-3, 1),
)
def test_it_rises_once_and_falls_once(total: int, warmup: int, min_frac: float) -> None:
    factors = [lr_factor(step, total, warmup, min_frac) for step in range(total)]
    assert all(0 < factor <= 1 + 1e-12 for factor in factors)
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[-1] == pytest.approx(min_frac) or total - 1 <= warmup
