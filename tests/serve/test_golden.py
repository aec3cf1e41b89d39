"""The released bundle from a JPEG's bytes to its verdict, pinned to recorded numbers.

Other tests ask for parts with bundles that they make; this one knows what the detector that people
download answered on the day it was recorded. Images: a public-domain portrait and drawn faces - a
paste stored sideways, a face that is shrunk before it is seen, one that fills its image.

Record new numbers only for a new release, or when the computation is meant to change.
"""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.faces.detector import Face
from pipeline.seam.features import feature_names, outside_detail, seam_features
from pipeline.seam.rings import ring_statistics
from serve.detector.images import decode_image
from serve.detector.inference import FaceResult, SwapDetector, load_swap_detector
from serve.settings import Settings
from tests.support.synthetic import draw_face, swap_face

RELEASED = Path(__file__).resolve().parents[2] / "data/release"
SIDEWAYS = 6  # EXIF: the stored rows are the image's columns, from the right

FEATURES = (
    "power_outside_1_0",
    "power_drop_band0_0",
    "power_ring_band0_2",
    "power_ring_band1_7",
    "log_tilt_trip_bilinear_tilt_4",
    "log_side_band2_1",
    "power_step_trip_area_8",
    "power_sector_band3_weighted",
    "log_sector_along0_q50",
    "log_sector_mixed1_q50",
    "power_sector_turn2_q90",
    "outside_share",
)
HEADS = ("real_fake", "inswapper", "boundary", "quality_pristine", "quality_heavy")

# Without AVX, pixels stay and features move by 0.00001. A grey level more or less in
# one sample of a thousand moves a found face by up to 0.02 px, features by 0.004, logits of the
# heads by 0.01 and that of the trees, which jumps, by 0.02.
PLACE_PX, FEATURE, HEAD_LOGIT, SEAM_LOGIT, SCORE = 0.25, 0.008, 0.03, 0.06, 0.004


@dataclass(frozen=True)
class Recorded:
    """Recorded results. features, heads: as named above; heads and seam as logits."""

    mean_rgb: tuple[float, ...]
    box_xyxy: tuple[float, ...]
    keypoints: tuple[tuple[float, float], ...]
    features: tuple[float | None, ...]
    heads: tuple[float, ...]
    seam: float
    surroundings: float
    score: float
    verdict: str

    @property
    def face(self) -> Face:
        return Face(np.array(self.box_xyxy, np.float32), np.array(self.keypoints, np.float32), 0.9)


RECORDED = {
    "portrait": Recorded(
        mean_rgb=(141.57, 105.78, 96.44),
        box_xyxy=(177.91, 55.31, 270.63, 176.07),
        keypoints=(
            (202.3, 100.29),
            (246.33, 101.31),
            (223.34, 129.04),
            (200.68, 138.16),
            (245.35, 139.13),
        ),
        features=(
            -0.559,
            -0.052,
            -0.136,
            0.157,
            -0.156,
            1.001,
            0.066,
            -0.294,
            0.89,
            1.182,
            0.935,
            1.0,
        ),
        heads=(-6.705, -6.635, -5.771, -1.341, -1.047),
        seam=-4.744,
        surroundings=1.0000,
        score=0.00231,
        verdict="real",
    ),
    "sideways paste": Recorded(
        mean_rgb=(131.88, 157.47, 71.01),
        box_xyxy=(166.87, 80.96, 315.2, 274.03),
        keypoints=(
            (205.81, 147.13),
            (275.57, 150.96),
            (237.95, 188.08),
            (209.98, 224.78),
            (262.04, 228.11),
        ),
        features=(
            -0.114,
            -1.233,
            -1.577,
            -0.166,
            -1.623,
            -0.048,
            0.098,
            0.109,
            -0.192,
            -0.036,
            0.299,
            0.998,
        ),
        heads=(2.329, 2.316, 2.98, -2.257, -0.257),
        seam=3.265,
        surroundings=1.0000,
        score=0.93102,
        verdict="fake",
    ),
    "large": Recorded(
        mean_rgb=(143.5, 152.77, 78.03),
        box_xyxy=(135.42, 106.8, 492.34, 588.12),
        keypoints=(
            (222.74, 293.36),
            (388.15, 261.5),
            (320.08, 358.0),
            (273.27, 473.5),
            (404.44, 447.05),
        ),
        features=(
            -0.855,
            0.367,
            0.368,
            0.147,
            -0.278,
            0.248,
            -0.056,
            -0.232,
            0.305,
            0.259,
            0.584,
            0.38,
        ),
        heads=(-5.785, -5.692, -4.951, -0.988, -1.304),
        seam=-2.915,
        surroundings=0.3939,
        score=0.00960,
        verdict="real",
    ),
    "filling": Recorded(
        mean_rgb=(143.75, 115.52, 93.12),
        box_xyxy=(-3.88, -26.93, 174.69, 222.85),
        keypoints=(
            (43.45, 62.58),
            (128.12, 62.69),
            (85.93, 110.15),
            (53.38, 158.94),
            (118.45, 159.01),
        ),
        features=(None, None, None, None, None, None, None, None, None, None, None, 0.0),
        heads=(0.427, 0.397, -0.007, -0.764, -0.962),
        seam=0.006,
        surroundings=0.0000,
        score=0.64861,
        verdict="real",
    ),
}


def drawn(name: str) -> ImageU8:
    if name == "portrait":
        return np.asarray(skimage.data.astronaut(), np.uint8)
    if name == "sideways paste":
        return swap_face(draw_face(2, height=360, width=480, face_px=180, roll_deg=6), 100)[0]
    if name == "large":
        return draw_face(2, height=700, width=640, face_px=430, roll_deg=-9).rgb
    return draw_face(4, height=200, width=170, face_px=210).rgb


@cache
def jpeg(name: str) -> bytes:
    """The image's file; the paste lies on its side and says so in its EXIF block."""
    rgb, exif = drawn(name), Image.Exif()
    if name == "sideways paste":
        rgb, exif[274] = np.rot90(rgb), SIDEWAYS
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(
        stream, "JPEG", quality=90, subsampling=0, exif=exif
    )
    return stream.getvalue()


@cache
def upright(name: str) -> ImageU8:
    return decode_image(io.BytesIO(jpeg(name)), 1_000_000).rgb


@pytest.fixture(scope="module")
def detector() -> SwapDetector:
    return load_swap_detector(Settings(model_path=RELEASED), threads=1)


def features_of(rgb: ImageU8, keypoints: FloatArray) -> FloatArray:
    return seam_features(ring_statistics(rgb, keypoints)[None])


def logits_of(result: FaceResult, *names: str) -> list[float]:
    return [float(np.log(p / (1 - p))) for p in (result.decision.heads[name] for name in names)]


def numbers(values: tuple[float | None, ...]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], np.float32)


everything = pytest.mark.parametrize("name", RECORDED)


@everything
def test_a_jpeg_becomes_upright_rgb(name: str) -> None:
    rgb = upright(name)
    assert rgb.shape == drawn(name).shape
    assert rgb.mean(axis=(0, 1)) == pytest.approx(RECORDED[name].mean_rgb, abs=0.1)
    assert np.abs(rgb.astype(int) - drawn(name)).mean() < 4


@everything
def test_the_face_is_found_where_it_was(detector: SwapDetector, name: str) -> None:
    (found,) = detector.score_image(upright(name)).faces
    recorded = RECORDED[name].face
    np.testing.assert_allclose(found.face.box_xyxy, recorded.box_xyxy, atol=PLACE_PX, rtol=0)
    np.testing.assert_allclose(found.face.keypoints, recorded.keypoints, atol=PLACE_PX, rtol=0)


@everything
def test_the_seam_has_the_features_that_it_had(name: str) -> None:
    recorded = RECORDED[name]
    assert recorded.face.keypoints is not None
    found = features_of(upright(name), recorded.face.keypoints)
    named = dict(zip(feature_names(), found[0], strict=True))
    np.testing.assert_allclose(
        [named[feature] for feature in FEATURES],
        numbers(recorded.features),
        atol=FEATURE,
        rtol=0,
    )
    np.testing.assert_array_equal(outside_detail(found), named["power_outside_1_0"])


@everything
def test_a_face_in_its_image_gets_the_score_that_it_got(detector: SwapDetector, name: str) -> None:
    recorded = RECORDED[name]
    (found,) = detector.score_faces(upright(name), [recorded.face])
    assert logits_of(found, *HEADS) == pytest.approx(recorded.heads, abs=HEAD_LOGIT)
    assert logits_of(found, "seam") == pytest.approx([recorded.seam], abs=SEAM_LOGIT)
    assert found.decision.surroundings == pytest.approx(recorded.surroundings, abs=0.002)
    assert found.score == pytest.approx(recorded.score, abs=SCORE)
    assert found.verdict == recorded.verdict


@everything
def test_a_jpeg_gets_the_verdict_that_it_got(detector: SwapDetector, name: str) -> None:
    """As above, but the face is detected again; its position moves the score slightly."""
    result = detector.score_image(upright(name))
    assert result.score == pytest.approx(RECORDED[name].score, abs=4 * SCORE)
    assert result.verdict == RECORDED[name].verdict
