import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision import (
    DecisionSpec,
    abstain_reasons,
    decide,
    inside_frac,
    score_crops,
    worst_face,
)
from pipeline.fusion import sigmoid
from pipeline.params import FusionParams
from pipeline.thresholds import Thresholds

SPEC = DecisionSpec(
    temperature=2.0,
    fusion=FusionParams(real_fake=0.5, inswapper=0.3, boundary=0.2),
    thresholds=Thresholds(best_f1=0.5, low_fpr=0.7, balanced=0.45),
    min_face_px=60,
    min_inside_frac=0.5,
)


def logits_of(value: float, crops: int = 3) -> dict[str, np.ndarray]:
    flat = np.full(crops, value, dtype=np.float32)
    return {
        "real_fake": flat,
        "inswapper": flat,
        "boundary": flat,
        "quality": np.zeros((crops, 3), dtype=np.float32),
        "seam_map": np.zeros((crops, 32, 32), dtype=np.float32),
    }


def test_a_face_is_scored_by_temperature_heads_and_crops() -> None:
    logits = logits_of(0.0, crops=2) | {"real_fake": np.array([4.0, -2.0])}
    face = decide(logits, SPEC, face_px=100)
    first, second = 0.5 * sigmoid(2.0) + 0.25, 0.5 * sigmoid(-1.0) + 0.25
    assert face.crop_scores == pytest.approx((first, second))
    assert face.score == pytest.approx((first + second) / 2)
    assert face.heads["real_fake"] == pytest.approx((sigmoid(2.0) + sigmoid(-1.0)) / 2)
    assert face.heads["quality_heavy"] == pytest.approx(1 / 3)
    assert face.verdict == "suspicious"
    assert face.reasons == ()


@pytest.mark.parametrize(("logit", "expected"), [(8.0, "fake"), (-8.0, "real")])
def test_clear_faces(logit: float, expected: str) -> None:
    assert decide(logits_of(logit), SPEC, face_px=100).verdict == expected


def test_small_faces_without_surroundings_are_left_undecided_with_both_reasons() -> None:
    face = decide(logits_of(8.0), SPEC, face_px=59.9, inside_frac=0.4)
    assert face.verdict == "undecided"
    assert face.reasons == ("face_too_small", "no_surroundings")
    assert face.score > 0.9
    assert abstain_reasons(SPEC, face_px=60, inside_frac=0.5) == ()


def test_inside_frac() -> None:
    centred = np.array([40, 40, 60, 60], dtype=np.float32)  # the 1.5x square has 30 px
    assert inside_frac(centred, 100, 100) == 1.0
    assert inside_frac(centred, 100, 50) == pytest.approx(15 / 30)
    assert inside_frac(np.array([0, 0, 20, 20], dtype=np.float32), 100, 100) == pytest.approx(
        (25 / 30) ** 2
    )
    assert inside_frac(np.array([200, 200, 220, 220], dtype=np.float32), 100, 100) == 0.0


def test_a_picture_is_judged_by_its_worst_face() -> None:
    real = decide(logits_of(-8.0), SPEC, face_px=100)
    fake = decide(logits_of(8.0), SPEC, face_px=100)
    small = decide(logits_of(9.0), SPEC, face_px=10)
    assert worst_face([real, fake, small]) is fake
    assert worst_face([real, small]) is small


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3), st.floats(0.1, 5))
def test_more_evidence_never_lowers_the_score(values: list[float], step: float) -> None:
    low = logits_of(0.0) | {"real_fake": np.array(values)}
    high = low | {"real_fake": np.array(values) + step}
    assert (score_crops(high, 2.0, SPEC.fusion) >= score_crops(low, 2.0, SPEC.fusion) - 1e-12).all()
