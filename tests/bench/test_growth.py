"""tests.bench.growth: slopes, copies with different bytes but equal frames, memory."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.media.video import read_frames
from tests.bench.growth import free_box, growth, table
from tests.support.synthetic import draw_clip, write_clip


def runs(power: float, peaks: list[float]) -> list[dict[str, float]]:
    sizes = [10.0, 40.0, 160.0]
    return [
        {"items": items, "seconds": 0.5 * items**power, "peak_mib": peak}
        for items, peak in zip(sizes, peaks, strict=True)
    ]


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_slope_is_the_power(power: float) -> None:
    found = growth(runs(power, [100, 200, 210]))
    assert (found["slope"], found["last_slope"]) == pytest.approx((power, power))
    assert found["memory_growth"] == pytest.approx(1.05)


def test_the_table_points_at_what_grows() -> None:
    stages = {
        "good": growth(runs(1, [100, 200, 210])),
        "slow": growth(runs(2, [100, 100, 100])),
        "fat": growth(runs(1, [100, 200, 400])),
    }
    lines = table({"sizes": [1, 4, 16], "stages": stages})[1:]
    assert [line.split()[0] for line in lines if line.endswith("GROWS")] == ["slow", "fat"]


def test_copies_are_other_files_with_the_same_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, draw_clip(1, scenes=1, frames_per_scene=3))
    frames = [rgb for _, _, rgb in read_frames(path)]
    content = path.read_bytes()
    assert len({content, content + free_box(0), content + free_box(1)}) == 3
    path.write_bytes(content + free_box(7))
    assert np.array_equal([rgb for _, _, rgb in read_frames(path)], frames)
