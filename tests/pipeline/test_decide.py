from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.decide import Conformal, decide, worst_face
from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import LearnedFusion, fuse_views, sigmoid
from pipeline.runtime.sections import FusionParams
from pipeline.views.aligned import surroundings_frac
from pipeline.views.cut import surroundings_of
from tests.support.decisions import decision_of, limits_of
from tests.support.face_evidence import evidence_of
from tests.support.synthetic import draw_face

OPEN = limits_of(0.45, 0.7, balanced=0.45)
TIGHT = limits_of(0.6, 0.9, possible=(0.2, 0.95))
SPEC = decision_of(
    OPEN,
    TIGHT,
    temperature=2.0,
    fusion=FusionParams(real_fake=0.5, inswapper=0.3, boundary=0.2),
    min_surroundings_frac=0.25,
)
WITHOUT = 0.2


def logits_of(value: float, views: int = 3, **members: Any) -> FaceEvidence:
    return evidence_of(np.full(views, value, dtype=np.float32), **members)


def logits_for(score: float, surroundings: float = 1.0) -> FaceEvidence:
    """Evidence about a face that SPEC gives this score."""
    return logits_of(2.0 * float(np.log(score / (1 - score))), surroundings=surroundings)


def test_a_face_is_scored_by_temperature_heads_and_views() -> None:
    logits = evidence_of([4.0, -2.0], [0.0, 0.0], [0.0, 0.0])
    face = decide(logits, SPEC, face_px=100)
    first, second = 0.5 * sigmoid(2.0) + 0.25, 0.5 * sigmoid(-1.0) + 0.25
    assert face.view_scores == pytest.approx((first, second))
    assert face.score == pytest.approx((first + second) / 2)
    assert face.heads["real_fake"] == pytest.approx((sigmoid(2.0) + sigmoid(-1.0)) / 2)
    assert face.heads["quality_heavy"] == pytest.approx(1 / 3)
    assert "seam" not in face.heads
    assert face.verdict == "suspicious"
    assert face.surroundings == 1.0
    assert face.reasons == ()


def test_only_a_learned_fusion_uses_the_seam_trees() -> None:
    logits = logits_of(0.0, trees=2.0)
    learned = SPEC.model_copy(
        update={
            "fusion": LearnedFusion(bias=-1, real_fake=1, inswapper=0, boundary=0, seam=1.5),
            "temperature": 1.0,
        }
    )
    face = decide(logits, learned, face_px=100)
    assert face.score == pytest.approx(sigmoid(-1 + 1.5 * 2.0))
    assert face.heads["seam"] == pytest.approx(sigmoid(2.0))
    fixed = decide(logits, SPEC, face_px=100)
    assert fixed.score == 0.5
    assert fixed.heads["seam"] == pytest.approx(sigmoid(2.0))


@pytest.mark.parametrize(("logit", "expected"), [(8.0, "fake"), (-8.0, "real")])
def test_clear_faces(logit: float, expected: str) -> None:
    assert decide(logits_of(logit), SPEC, face_px=100).verdict == expected


def test_small_faces_without_surroundings_are_left_undecided_with_both_reasons() -> None:
    face = decide(logits_of(8.0, surroundings=WITHOUT), SPEC, face_px=59.9)
    assert face.verdict == "undecided"
    assert face.reasons == ("face_too_small", "no_surroundings")
    assert face.score > 0.9
    assert decide(logits_of(8.0, surroundings=0.25), SPEC, face_px=60).reasons == ()


@pytest.mark.parametrize("logit", [8.0, 0.0, -8.0])
def test_a_small_face_stays_undecided(logit: float) -> None:
    face = decide(logits_of(logit), SPEC, face_px=59)
    assert (face.verdict, face.reasons) == ("undecided", ("face_too_small",))


@pytest.mark.parametrize("logit", [8.0, 0.0, -8.0])
def test_a_face_in_too_soft_an_image_stays_undecided(logit: float) -> None:
    spec = SPEC.model_copy(update={"min_detail": -1.5})
    for detail, is_soft in ((-1.6, True), (-1.5, False), (np.nan, False)):
        face = decide(logits_of(logit, detail=detail), spec, face_px=100)
        assert face.reasons == (("too_soft",) if is_soft else ())
        assert (face.verdict == "undecided") is is_soft
        assert "detail" not in face.heads
    # Nothing is known of the detail, or there is no limit.
    assert decide(logits_of(logit), spec, face_px=100).reasons == ()
    assert decide(logits_of(logit, detail=-9.0), SPEC, face_px=100).reasons == ()


@pytest.mark.parametrize(
    ("score", "with_surroundings", "without"),
    [
        (0.3, "real", "real"),
        (0.5, "suspicious", "real"),
        (0.65, "suspicious", "undecided"),  # a doubt, but without a seam to look at
        (0.8, "fake", "undecided"),
        (0.92, "fake", "fake"),
    ],
)
def test_a_face_that_fills_the_image_has_its_own_limits(
    score: float, with_surroundings: str, without: str
) -> None:
    open_face, tight = (
        decide(logits_for(score, share), SPEC, face_px=100) for share in (0.25, WITHOUT)
    )
    assert open_face.score == tight.score == pytest.approx(score)
    assert (open_face.verdict, tight.verdict) == (with_surroundings, without)
    assert open_face.reasons == ()
    assert tight.reasons == ("no_surroundings",)
    assert tight.surroundings == WITHOUT


@pytest.mark.parametrize(
    ("score", "with_surroundings", "without"),
    [
        (0.25, ("real",), ("real", "fake")),
        (0.5, ("real", "fake"), ("real", "fake")),
        (0.92, ("fake",), ("real", "fake")),
        (0.97, ("fake",), ("fake",)),
        (0.1, ("real",), ("real",)),
    ],
)
def test_the_possible_labels_are_those_of_the_faces_kind(
    score: float, with_surroundings: tuple[str, ...], without: tuple[str, ...]
) -> None:
    found = [
        decide(logits_for(score, share), SPEC, face_px=100).possible for share in (1.0, WITHOUT)
    ]
    assert found == [with_surroundings, without]


def test_the_limits_themselves_leave_both_labels_possible() -> None:
    sets = Conformal(confidence=0.9, real_at_most=0.6, fake_at_least=0.4)
    assert [sets.possible(score) for score in (0.39, 0.4, 0.6, 0.61)] == [
        ("real",),
        ("real", "fake"),
        ("real", "fake"),
        ("fake",),
    ]
    # Classes that a detector separates leave a gap that is neither's.
    gap = Conformal(confidence=0.9, real_at_most=0.2, fake_at_least=0.8)
    assert gap.possible(0.5) == ()


def test_an_operators_limit_holds_for_both_kinds_of_faces() -> None:
    own = SPEC.with_fake_from(0.3)
    for share in (1.0, WITHOUT):
        assert decide(logits_for(0.31, share), own, face_px=100).verdict == "fake"
        assert decide(logits_for(0.29, share), own, face_px=100).verdict == "real"
    assert SPEC.thresholds.fake_from == 0.7
    assert own.open.conformal == SPEC.open.conformal
    with pytest.raises(ValueError, match="low_fpr"):
        SPEC.with_fake_from(1.2)


def test_surroundings_of_a_box() -> None:
    """1 where the 1.5x square lies in the image, 0 where the image ends with the box."""
    centred = np.array([40, 40, 60, 60], dtype=np.float32)  # the 1.5x square has 30 px
    least = 1 / 1.5**2
    assert surroundings_of(centred, None, 100, 100) == 1.0
    half = (15 / 30 - least) / (1 - least)
    assert surroundings_of(centred, None, 100, 50) == pytest.approx(half)
    corner = np.array([0, 0, 20, 20], dtype=np.float32)
    found = surroundings_of(corner, None, 100, 100)
    assert found == pytest.approx(((25 / 30) ** 2 - least) / (1 - least))
    assert surroundings_of(corner, None, 20, 20) == 0.0
    assert surroundings_of(np.array([200, 200, 220, 220], np.float32), None, 100, 100) == 0.0


def test_keypoints_tell_the_surroundings_better_than_a_box() -> None:
    face = draw_face(1, height=200, width=200, face_px=150)
    shared = (face.keypoints, 200, 200)
    assert surroundings_of(face.box_xyxy, *shared) == surroundings_frac(*shared)
    assert surroundings_of(np.zeros(4, np.float32), *shared) == surroundings_frac(*shared)


def test_the_worst_face_decides_for_an_image() -> None:
    real = decide(logits_of(-8.0), SPEC, face_px=100)
    fake = decide(logits_of(8.0), SPEC, face_px=100)
    small = decide(logits_of(9.0), SPEC, face_px=10)
    assert worst_face([real, fake, small]) is fake
    assert worst_face([real, small]) is small


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3), st.floats(0.1, 5))
def test_more_evidence_never_lowers_the_score(values: list[float], step: float) -> None:
    rest = [0.0] * len(values)
    low, high = (evidence_of(np.array(values) + more, rest, rest) for more in (0, step))
    assert (fuse_views(high, 2.0, SPEC.fusion) >= fuse_views(low, 2.0, SPEC.fusion) - 1e-12).all()


@given(st.floats(0.001, 0.999), st.floats(0, 1))
def test_less_to_see_never_makes_a_verdict_worse(score: float, share: float) -> None:
    """If the limits without surroundings are at least as strict, as calibration makes them."""
    order = ("real", "undecided", "suspicious", "fake")
    whole = decide(logits_for(score), SPEC, face_px=100).verdict
    part = decide(logits_for(score, share), SPEC, face_px=100).verdict
    assert order.index(part) <= order.index(whole)
