"""pipeline.training.augment: seeded, paired, in place."""

import subprocess
import sys

import numpy as np
import pytest

from pipeline.params import AugmentParams, load_params
from pipeline.preprocess import FloatArray, ImageU8
from pipeline.training.augment import SOFTENINGS, Degradations, Soften, soften_real
from tests.synthetic import draw_face

FRACTIONS = [name for name in AugmentParams.model_fields if name.endswith("_frac")]
FACE = draw_face(3, height=160, width=170, face_px=80)


def params(**changes: float) -> AugmentParams:
    off: dict[str, float] = dict.fromkeys(FRACTIONS, 0.0)
    return load_params().augment.model_copy(update=off | changes)


def detail(rgb: ImageU8) -> float:
    return float(np.abs(np.diff(rgb.astype(np.float64), axis=1)).mean())


def test_without_degradations_nothing_changes() -> None:
    np.testing.assert_array_equal(Degradations(params()).apply(FACE.rgb, 1), FACE.rgb)


def test_equal_seeds_do_equal_things() -> None:
    every = Degradations(params(**dict.fromkeys(FRACTIONS, 0.5)))
    first = [every.apply(FACE.rgb, seed) for seed in range(6)]
    other = Degradations(params(**dict.fromkeys(FRACTIONS, 0.5)))
    for seed in reversed(range(6)):  # what came before must not matter
        np.testing.assert_array_equal(other.apply(FACE.rgb, seed), first[seed])
    assert len({rgb.tobytes() for rgb in first}) > 3


@pytest.mark.parametrize("name", [name for name in FRACTIONS if name != "flip_frac"])
def test_each_degradation_acts_and_keeps_the_picture_in_place(name: str) -> None:
    degraded = Degradations(params(**{name: 1.0})).apply(FACE.rgb, 7)
    assert degraded.shape == FACE.rgb.shape
    assert degraded.dtype == np.uint8
    assert (degraded != FACE.rgb).any()
    difference = degraded.astype(float).mean(axis=2) - FACE.rgb.astype(float).mean(axis=2)
    assert np.abs(difference - difference.mean()).mean() < 15


def test_a_pair_gets_the_same_noise() -> None:
    noise = Degradations(params(noise_frac=1.0))
    grey = np.full((64, 64, 3), 120, np.uint8)
    added = noise.apply(grey, 5).astype(int) - 120
    brighter = noise.apply(grey + 10, 5).astype(int) - 130
    np.testing.assert_allclose(added, brighter, atol=1)
    assert added.std() > 0.5


@pytest.mark.parametrize("soften", SOFTENINGS)
def test_softenings_take_detail_away(soften: Soften) -> None:
    soft = soften(FACE.rgb, np.random.default_rng(1))
    assert soft.shape == FACE.rgb.shape
    assert detail(soft) < 0.97 * detail(FACE.rgb)


def test_softening_is_whole_or_near_the_face() -> None:
    far = (slice(0, 6), slice(0, 6))
    untouched = whole = 0
    for seed in range(40):
        soft = soften_real(FACE.rgb, FACE.box_xyxy, np.random.default_rng(seed))
        assert (soft != FACE.rgb).any()
        if np.array_equal(soft[far], FACE.rgb[far]):
            untouched += 1
        else:
            whole += 1
    assert 8 < untouched < 24
    assert whole > 15


def test_softening_repeats() -> None:
    def once() -> ImageU8:
        box: FloatArray = FACE.box_xyxy
        return soften_real(FACE.rgb, box, np.random.default_rng(11))

    np.testing.assert_array_equal(once(), once())


@pytest.mark.slow
def test_importing_asks_no_server_for_a_newer_version() -> None:
    code = (
        "import urllib.request\n"
        "def refuse(*_, **__): raise SystemExit('asked the network')\n"
        "urllib.request.OpenerDirector.open = refuse\n"
        "import pipeline.training.augment\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
