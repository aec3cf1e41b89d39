"""tests.bench.stage_profile: assignment of a stack's time to a function of this project."""

import pytest

from tests.bench.stage_profile import OTHER, OUTSIDE, RATE_HZ, innermost, seconds_by_function


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        (
            "main (stages/train.py);fit (pipeline/training/loop/train.py);conv (torch/nn/conv.py)",
            "pipeline/training/loop/train.py: fit",
        ),
        ("main (/home/a/pipeline/stages/train.py)", "stages/train.py: main"),
        ("_find (importlib/_bootstrap.py);load (numpy/__init__.py)", OUTSIDE),
        ("<lambda> (pipeline/crops/frame_faces.py)", "pipeline/crops/frame_faces.py: <lambda>"),
    ],
)
def test_the_innermost_function_of_ours(stack: str, expected: str) -> None:
    assert innermost(stack) == expected


def test_samples_become_seconds_and_small_ones_are_summed() -> None:
    lines = [
        f"f (pipeline/f.py);g (pipeline/g.py) {90 * RATE_HZ}",
        f"f (pipeline/f.py) {8 * RATE_HZ}",
    ]
    lines += [f"h{k} (pipeline/h.py) {RATE_HZ}" for k in range(2)]
    lines += [f"run (threading.py);Condition.wait (threading.py:295) {99 * RATE_HZ}"]
    found = seconds_by_function("\n".join(lines) + "\n")
    assert found == {"pipeline/g.py: g": 90, "pipeline/f.py: f": 8, OTHER: 2}
    assert list(found) == ["pipeline/g.py: g", "pipeline/f.py: f", OTHER]
