"""pipeline.training.pairs.augment: degradations are seeded, paired and keep the face in place."""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.core.arrays import ImageU8
from pipeline.runtime.params import load_params
from pipeline.runtime.sections import AugmentParams
from pipeline.training.pairs import augment
from pipeline.training.pairs.augment import (
    MIN_SQUARE_PX,
    SOFTENING_FRACS,
    Degradations,
    soften_real,
)
from pipeline.training.pairs.degradations import jpeg
from pipeline.views.face_image import FaceImage
from tests.support.synthetic import draw_face

FRACTIONS = [name for name in AugmentParams.model_fields if name.endswith("_frac")]
_DRAWN = draw_face(3, height=220, width=230, face_px=110)
FACE = FaceImage(_DRAWN.rgb, _DRAWN.box_xyxy, _DRAWN.keypoints)
CENTRE = (slice(100, 120), slice(105, 125))
CORNER = (slice(0, 6), slice(0, 6))


def params(**changes: float) -> AugmentParams:
    off: dict[str, float] = dict.fromkeys(FRACTIONS, 0.0)
    return load_params().augment.model_copy(update=off | changes)


def detail(rgb: ImageU8) -> float:
    return float(np.abs(np.diff(rgb.astype(np.float64), axis=1)).mean())


def softened(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> ImageU8:
    """The face after one kind of softening."""
    monkeypatch.setattr(augment, "SOFTENING_FRACS", {kind: 1.0})
    return soften_real(FACE, np.random.default_rng(seed)).rgb


def test_without_degradations_nothing_changes() -> None:
    found = Degradations(params()).apply(FACE, 1)
    np.testing.assert_array_equal(found.rgb, FACE.rgb)
    assert found.keypoints is FACE.keypoints


def test_equal_seeds_give_equal_images() -> None:
    half = dict.fromkeys(FRACTIONS, 0.5)
    every = Degradations(params(**half))
    first = [every.apply(FACE, seed) for seed in range(6)]
    other = Degradations(params(**half))
    for seed in reversed(range(6)):  # earlier calls must not matter
        again = other.apply(FACE, seed)
        np.testing.assert_array_equal(again.rgb, first[seed].rgb)
        np.testing.assert_array_equal(again.keypoints, first[seed].keypoints)
    assert len({image.rgb.tobytes() for image in first}) > 3


@pytest.mark.parametrize(
    "name", [name for name in FRACTIONS if name not in ("flip_frac", "second_jpeg_frac")]
)
def test_each_degradation_acts_and_keeps_the_image_in_place(name: str) -> None:
    degraded = Degradations(params(**{name: 1.0})).apply(FACE, 7).rgb
    assert degraded.dtype == np.uint8
    if name == "resize_frac":
        assert degraded.shape < FACE.rgb.shape
        degraded = np.asarray(cv2.resize(degraded, (230, 220), interpolation=cv2.INTER_CUBIC))
    assert degraded.shape == FACE.rgb.shape
    assert (degraded != FACE.rgb).any()
    difference = degraded.astype(float).mean(axis=2) - FACE.rgb.astype(float).mean(axis=2)
    assert np.abs(difference - difference.mean()).mean() < 15


def test_a_smaller_image_keeps_its_face_in_place_and_large_enough() -> None:
    shrinks = Degradations(params(resize_frac=1.0))
    for seed in range(20):
        found = shrinks.apply(FACE, seed)
        ratio = found.rgb.shape[1] / FACE.rgb.shape[1]
        assert ratio < 1
        assert found.square_px == pytest.approx(ratio * FACE.square_px, rel=0.01)
        assert found.square_px >= MIN_SQUARE_PX - 1
        assert found.box_xyxy == pytest.approx(ratio * FACE.box_xyxy, abs=0.6)
    small = replace(FACE, keypoints=0.5 * _DRAWN.keypoints)
    assert shrinks.apply(small, 1).rgb.shape == FACE.rgb.shape


def test_a_second_encoding_comes_after_the_first_one() -> None:
    fixed = {"jpeg_frac": 1.0, "jpeg_min": 50, "jpeg_max": 50}
    once, twice = (
        Degradations(params(second_jpeg_frac=frac, **fixed)).apply(FACE, 7).rgb
        for frac in (0.0, 1.0)
    )
    np.testing.assert_array_equal(once, jpeg(50)(FACE).rgb)
    seconds = (jpeg(quality)(FACE.with_rgb(once)).rgb for quality in range(75, 97))
    assert any(np.array_equal(twice, second) for second in seconds)
    assert (once != twice).any()


def test_clean_images_are_encoded_well_or_not_at_all() -> None:
    rough = dict.fromkeys(FRACTIONS, 1.0) | {"x264_frac": 0.0, "clean_frac": 1.0}
    clean = Degradations(params(**rough))
    good = {jpeg(quality)(FACE).rgb.tobytes() for quality in range(88, 99)}
    found = [clean.apply(FACE, seed).rgb.tobytes() for seed in range(40)]
    untouched = found.count(FACE.rgb.tobytes())
    assert 2 <= untouched <= 16  # a fifth
    assert set(found) <= good | {FACE.rgb.tobytes()}


def test_a_pair_gets_the_same_noise() -> None:
    noise = Degradations(params(noise_frac=1.0))
    grey = np.full((64, 64, 3), 120, np.uint8)
    added = noise.apply(FACE.with_rgb(grey), 5).rgb.astype(int) - 120
    brighter = noise.apply(FACE.with_rgb(grey + 10), 5).rgb.astype(int) - 130
    np.testing.assert_allclose(added, brighter, atol=1)
    assert added.std() > 0.5


def test_fractions_of_softenings_sum_to_one() -> None:
    assert sum(SOFTENING_FRACS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", SOFTENING_FRACS)
def test_softenings_remove_detail(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    soft = softened(kind, 1, monkeypatch)
    assert soft.shape == FACE.rgb.shape
    assert soft.dtype == np.uint8
    assert detail(soft) < 0.97 * detail(FACE.rgb)


@pytest.mark.parametrize("kind", [kind for kind in SOFTENING_FRACS if kind != "focused"])
def test_most_softenings_affect_the_whole_image(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(6):
        soft = softened(kind, seed, monkeypatch)
        for part in (CORNER, CENTRE):
            assert (soft[part] != FACE.rgb[part]).any()


def test_focus_is_on_the_face_or_on_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"sharp behind": 0, "sharp face": 0, "neither": 0}
    for seed in range(40):
        soft = softened("focused", seed, monkeypatch)
        assert (soft != FACE.rgb).any()
        if np.array_equal(soft[CORNER], FACE.rgb[CORNER]):
            kinds["sharp behind"] += 1
            assert detail(soft[CENTRE]) < 0.9 * detail(FACE.rgb[CENTRE])
        elif np.array_equal(soft[CENTRE], FACE.rgb[CENTRE]):
            kinds["sharp face"] += 1
            assert detail(soft[CORNER]) < 0.9 * detail(FACE.rgb[CORNER])
        else:
            kinds["neither"] += 1  # the edge of the ellipse is wide
    assert kinds["sharp behind"] > 8
    assert kinds["sharp face"] > 8


def test_softening_repeats() -> None:
    def once(seed: int) -> ImageU8:
        return soften_real(FACE, np.random.default_rng(seed)).rgb

    for seed in range(12):
        np.testing.assert_array_equal(once(seed), once(seed))


@pytest.mark.slow
def test_importing_does_not_check_for_a_newer_version() -> None:
    code = (
        "import urllib.request\n"
        "def refuse(*_, **__): raise SystemExit('asked the network')\n"
        "urllib.request.OpenerDirector.open = refuse\n"
        "import pipeline.training.pairs.augment\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
