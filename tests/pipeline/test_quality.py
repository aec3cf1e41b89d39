import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.runtime.errors import ManifestError
from pipeline.training.swaps.pseudo_swap import PLAIN, PseudoSwapper
from pipeline.views.quality import (
    QualityMeasures,
    QualityThresholds,
    blockiness,
    fit_quality,
    laplacian_variance,
    measure_quality,
    noise_sigma,
    quality_label,
)
from tests.support.synthetic import draw_face

THRESHOLDS = QualityThresholds(
    face_px=(100, 60), sharpness=(50, 20), blockiness=(0.2, 0.5), noise_level=(3, 6)
)
GOOD = {"face_px": 200.0, "sharpness": 90.0, "blockiness": 0.0, "noise_level": 1.0}
EVERYWHERE = np.ones((128, 128), bool)


def jpeg(rgb: ImageU8, quality: int) -> ImageU8:
    _, encoded = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1], np.uint8)


def ramp() -> ImageU8:
    return np.tile(np.arange(128, dtype=np.uint8), (128, 1))


@pytest.mark.parametrize("sigma", [2.0, 5.0, 12.0])
def test_noise_is_measured_in_grey_levels_and_edges_are_not_noise(sigma: float) -> None:
    rng = np.random.default_rng(1)
    flat = np.where(np.arange(128) < 64, 80.0, 160.0) + np.zeros((128, 1))
    noisy = np.clip(np.round(flat + rng.normal(0, sigma, flat.shape)), 0, 255).astype(np.uint8)
    assert noise_sigma(noisy, EVERYWHERE) == pytest.approx(sigma, rel=0.1)
    assert noise_sigma(ramp(), EVERYWHERE) == 0


def test_block_edges_are_found_on_any_phase_of_the_grid() -> None:
    for shift in (0, 3):
        steps = 10 * ((np.arange(128) + shift) // 8)
        blocks = np.tile(steps.astype(np.uint8), (128, 1))
        across = 10 / (1 + steps[-1] / 127)
        assert blockiness(blocks, EVERYWHERE) == pytest.approx(across / 2, rel=0.02)
    assert blockiness(ramp(), EVERYWHERE) == 0


def test_blockiness_ignores_what_is_masked_out() -> None:
    grey = ramp()
    grey[:64] = 10 * (np.arange(128) // 8)
    lower = np.zeros((128, 128), bool)
    lower[72:] = True
    assert blockiness(grey, EVERYWHERE) > 1
    assert blockiness(grey, lower) == 0


def test_a_grid_needs_two_blocks() -> None:
    assert blockiness(np.zeros((12, 12), np.uint8), np.ones((12, 12), bool)) == 0


def test_sharpness_of_a_checkerboard() -> None:
    board = (np.indices((40, 40)).sum(axis=0) % 2 * 2).astype(np.uint8)
    assert laplacian_variance(board) == pytest.approx(64, rel=0.01)
    assert laplacian_variance(np.full((300, 200), 7, np.uint8)) == 0


@pytest.mark.parametrize("degrade", ["jpeg", "blur", "noise"])
def test_each_degradation_changes_its_own_measure(degrade: str) -> None:
    drawn = draw_face(1, height=400, width=400, face_px=160)
    clean = measure_quality(drawn.rgb, drawn.box_xyxy)
    assert clean.face_px == pytest.approx(160, abs=0.01)
    if degrade == "jpeg":
        levels = [
            measure_quality(jpeg(drawn.rgb, quality), drawn.box_xyxy).blockiness
            for quality in (90, 60, 30, 10)
        ]
        assert levels == sorted(levels)
        assert levels[-1] > clean.blockiness + 0.3
    elif degrade == "blur":
        soft = measure_quality(cv2.GaussianBlur(drawn.rgb, (0, 0), 3), drawn.box_xyxy)
        assert soft.sharpness < clean.sharpness / 2
    else:
        rng = np.random.default_rng(2)
        noisy = np.clip(drawn.rgb + rng.normal(0, 20, drawn.rgb.shape), 0, 255).astype(np.uint8)
        assert measure_quality(noisy, drawn.box_xyxy).noise_level > clean.noise_level + 5


def test_a_box_may_extend_beyond_the_image_but_must_overlap_it() -> None:
    drawn = draw_face(1, height=100, width=100, face_px=120)
    assert measure_quality(drawn.rgb, drawn.box_xyxy).face_px == pytest.approx(120, abs=0.01)
    with pytest.raises(ValueError, match="outside the image of 100x100"):
        measure_quality(drawn.rgb, drawn.box_xyxy + 500)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0),
        ({"face_px": 100}, 0),
        ({"face_px": 99}, 1),
        ({"sharpness": 19.9}, 2),
        ({"blockiness": 0.2}, 0),
        ({"blockiness": 0.21}, 1),
        ({"noise_level": 6.1}, 2),
        ({"face_px": 99, "noise_level": 7}, 2),
    ],
)
def test_the_worst_measure_decides(change: dict[str, float], expected: int) -> None:
    assert quality_label(QualityMeasures(**(GOOD | change)), THRESHOLDS) == expected


def test_thresholds_are_quantiles_of_the_reals_limited_by_harmless_values() -> None:
    reals = [
        QualityMeasures(face_px=100 + i, sharpness=10.0 * i, blockiness=0.001 * i, noise_level=i)
        for i in range(101)
    ]
    thresholds = fit_quality(reals, (0.25, 0.05))
    assert thresholds.face_px == (125, 105)
    assert thresholds.sharpness == (250, 50)
    assert thresholds.blockiness == (0.1, 0.1)
    assert thresholds.noise_level == (75, 95)
    large = [QualityMeasures(**(GOOD | {"face_px": 900.0}))]
    assert fit_quality(large, (0.25, 0.05)).face_px == (192, 192)


def test_thresholds_need_reals() -> None:
    with pytest.raises(ValueError, match="at least one real face"):
        fit_quality([], (0.25, 0.05))


@given(st.lists(st.floats(0, 1e4), min_size=4, max_size=4), st.integers(0, 2**32 - 1))
def test_a_worse_measure_never_gives_a_better_label(values: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    face_px, sharpness, blocks, noise = values
    before = QualityMeasures(face_px, sharpness, blocks, noise)
    loss, gain = rng.uniform(0, 1, 2), rng.uniform(0, 10, 2)
    after = QualityMeasures(
        face_px * loss[0], sharpness * loss[1], blocks + gain[0], noise + gain[1]
    )
    assert quality_label(after, THRESHOLDS) >= quality_label(before, THRESHOLDS)


def test_thresholds_survive_a_dict_and_invalid_ones_are_rejected() -> None:
    stored = THRESHOLDS.to_dict()
    assert QualityThresholds.from_dict(stored) == THRESHOLDS
    for bad in ({}, stored | {"face_px": [1]}, stored | {"sharpness": "ab"}):
        with pytest.raises(ManifestError, match="pair of numbers"):
            QualityThresholds.from_dict(bad)


def mutual_information_bit(labels: list[int], others: list[int]) -> float:
    table = np.zeros((2, 3))
    np.add.at(table, (labels, others), 1 / len(labels))
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0)
    seen = table > 0
    return float((table[seen] * np.log2(table[seen] / expected[seen])).sum())


def pair_measures(person: int) -> tuple[QualityMeasures, QualityMeasures]:
    """Measures of a drawn person before and after a swap, with the same camera and codec."""
    rng = np.random.default_rng([person, 9])
    drawn = draw_face(person, height=360, width=360, face_px=rng.uniform(110, 220))
    swapper = PseudoSwapper(PLAIN)  # low-passed no more than INSwapper does
    fake = swapper.swap(drawn.rgb, drawn.keypoints, rng, None, "square").rgb
    sigma, quality = 0.2 * 12 ** rng.uniform(), int(rng.integers(40, 100))

    def captured(rgb: ImageU8) -> QualityMeasures:
        box: FloatArray = drawn.box_xyxy
        return measure_quality(jpeg(cv2.GaussianBlur(rgb, (0, 0), sigma), quality), box)

    return captured(drawn.rgb), captured(fake)


def test_the_quality_label_does_not_separate_a_swap_from_its_original() -> None:
    pairs = [pair_measures(person) for person in range(40)]
    # At 128 px the same pairs give a ratio of 0.65.
    assert np.median([fake.sharpness / real.sharpness for real, fake in pairs]) > 0.8
    thresholds = fit_quality([real for real, _ in pairs], (0.25, 0.05))
    labels = [label for _ in pairs for label in (0, 1)]
    qualities = [quality_label(measures, thresholds) for pair in pairs for measures in pair]
    assert set(qualities) == {0, 1, 2}
    assert mutual_information_bit(labels, qualities) <= 0.02
