"""pipeline.seam: features respond to a paste and not to a soft image."""

import cv2
import numpy as np
import pytest

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.seam.evidence import seam_evidence
from pipeline.seam.features import feature_names, outside_detail, seam_features
from pipeline.seam.rings import ALL_MAPS, OUTSIDE_CELLS, RINGS, SECTORS, ring_statistics
from pipeline.training.swaps.pseudo_swap import PLAIN, PseudoSwapper
from pipeline.training.swaps.recipe import SwapRecipe
from pipeline.views.paste import TEMPLATE

KEYPOINTS = np.asarray(TEMPLATE * 2 + 100, np.float32)


def textured(seed: int = 0) -> ImageU8:
    """Image with detail at all scales, like a photograph."""
    rng = np.random.default_rng(seed)
    image = np.full((456, 456, 3), 120, np.float32)
    for sigma in (0.6, 1.5, 4, 10):
        noise = rng.normal(0, 1, image.shape).astype(np.float32)
        image += 9 * sigma * cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.clip(image, 0, 255).astype(np.uint8)


def pasted(rgb: ImageU8) -> ImageU8:
    return PseudoSwapper(PLAIN).apply(rgb, KEYPOINTS, SwapRecipe(mirror_border=True)).rgb


def features_of(rgb: ImageU8) -> dict[str, float]:
    values = seam_features(ring_statistics(rgb, KEYPOINTS)[None])[0]
    return dict(zip(feature_names(), values.tolist(), strict=True))


def blurred(rgb: ImageU8) -> ImageU8:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1.2), np.uint8)


def test_every_cell_belongs_to_one_ring_and_sector() -> None:
    found = ring_statistics(textured(), KEYPOINTS)
    assert found.shape == (2 * ALL_MAPS + 1, RINGS, SECTORS)
    assert found[-1].sum() == 172**2
    assert found[-1, 9:].sum() == OUTSIDE_CELLS
    assert (found[-1] > 0).all()


def test_every_feature_has_a_unique_name() -> None:
    names = feature_names()
    assert len(names) == len(set(names)) == seam_features(np.ones((1, 29, 13, 16))).shape[1] == 1184


def test_a_paste_lacks_fine_texture_inside_and_a_soft_photo_does_not() -> None:
    rgb = textured()
    finest = "power_drop_band0_0"
    real, fake, soft = features_of(rgb), features_of(pasted(rgb)), features_of(blurred(rgb))
    assert fake[finest] < real[finest] - 0.25
    assert abs(soft[finest] - real[finest]) < 0.05


def test_a_paste_weakens_every_sector_and_a_soft_background_only_some() -> None:
    rgb = textured()
    half = rgb.copy()
    half[:228] = blurred(rgb)[:228]
    real, fake, mixed = features_of(rgb), features_of(pasted(rgb)), features_of(half)
    for name in ("power_sector_band0_q10", "power_sector_band0_q90"):
        assert fake[name] < real[name] - 0.25
    # Inside and outside are equally soft.
    assert abs(mixed["power_sector_band0_q50"] - real["power_sector_band0_q50"]) < 0.1


def test_a_paste_has_less_curvature_than_its_surroundings() -> None:
    rgb = textured()
    real, fake = features_of(rgb), features_of(pasted(rgb))
    for name in ("along0", "mixed0", "along1", "mixed1"):
        assert fake[f"power_sector_{name}_mean"] < real[f"power_sector_{name}_mean"] - 0.06
    # Finer curvature loses more.
    assert fake["power_sector_bend0_q50"] < real["power_sector_bend0_q50"] - 0.05


def test_sectors_outside_the_image_do_not_count() -> None:
    """Cropped at the lower edge of the square, the other three sides give the same result."""
    rgb = textured()
    whole, cropped = features_of(rgb), features_of(rgb[:344])
    assert cropped["outside_sides"] < whole["outside_sides"]
    name = "power_sector_band2_q50"
    assert cropped[name] == pytest.approx(whole[name], abs=0.1)


def test_brightness_and_contrast_cancel() -> None:
    rgb = textured()
    dim = np.asarray(rgb * np.float32(0.6) + 30, np.uint8)
    before, after = features_of(rgb), features_of(dim)
    for name in ("power_drop_band2_0", "log_drop_band3_0", "power_drop_slope1_0"):
        assert after[name] == pytest.approx(before[name], abs=0.05)


def test_without_surroundings_features_are_unknown() -> None:
    tight = textured()[110:346, 110:346]
    points: FloatArray = KEYPOINTS - np.float32(110)
    values = seam_features(ring_statistics(tight, points)[None])
    found = dict(zip(feature_names(), values[0].tolist(), strict=True))
    assert np.isnan(found["power_drop_band0_0"])
    assert np.isnan(found["power_sector_band0_mean"])
    assert found["outside_share"] < 0.02
    assert np.isnan(outside_detail(values)[0])
    assert np.isfinite(found["power_step_band0_4"])


def test_detail_of_the_surroundings_decreases_with_blur() -> None:
    details = [
        float(outside_detail(seam_features(ring_statistics(rgb, KEYPOINTS)[None]))[0])
        for rgb in (textured(), blurred(textured()))
    ]
    assert details[1] < details[0] - 0.3


def test_the_evidence_shows_the_drop_in_decibels() -> None:
    rgb = textured()
    real, fake = (seam_evidence(ring_statistics(p, KEYPOINTS)) for p in (rgb, pasted(rgb)))
    assert fake.drop_db[0] > real.drop_db[0] + 2
    assert abs(float(fake.drop_db[-1] - real.drop_db[-1])) < 1
    as_json = fake.to_dict()
    assert [band["scale_px"] for band in as_json["bands"]] == sorted(
        band["scale_px"] for band in as_json["bands"]
    )
    assert all(len(band["profile_db"]) == RINGS for band in as_json["bands"])
    assert len(as_json["ring_edges"]) == RINGS + 1
