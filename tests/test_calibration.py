import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.decision import DecisionSpec
from pipeline.errors import ManifestError
from pipeline.fusion import (
    DETAIL,
    FUSED_HEADS,
    SEAM,
    SURROUNDINGS,
    LearnedFusion,
    fuse_face,
    sigmoid,
)
from pipeline.jsonfile import write_json
from pipeline.params import CalibrateParams, FusionParams
from pipeline.training.calibration import (
    calibrate,
    fit_decision,
    read_calibration,
    weighted_quantile,
)
from pipeline.training.calibration_report import copies_report, sweep_rows, validation_report
from pipeline.training.degradations import SOFT_COPIES
from pipeline.training.fusion_fit import (
    FEWEST_FACES,
    fit_fusion,
    fit_temperature,
    fit_weights,
    golden_section,
    log_loss,
)
from pipeline.training.scoring import FaceLogits, Scorer
from pipeline.training.soft_pool import AS_IT_IS, Pool, ScoredCopies, pool_of, score_copies
from tests.face_stores import PREPROCESS, SharpnessNet, drawn_store
from tests.tiny_trees import stump

ONE_HEAD = FusionParams(real_fake=1.0, inswapper=0.0, boundary=0.0)
MIXED = FusionParams(real_fake=0.55, inswapper=0.3, boundary=0.15)
PARAMS = CalibrateParams(
    fusion="fixed",
    low_fpr=0.05,
    suspicious_fpr=0.2,
    sweep_steps=19,
    min_face_px=60,
    min_surroundings_frac=0.25,
    confidence=0.9,
    soft_frac=0.1,
)


def logits_of(*heads: np.ndarray, **single: np.ndarray) -> FaceLogits:
    """(faces, 1) logits of the three fused heads; single: those of one a face, as seam."""
    columns = [np.asarray(head, dtype=np.float32)[:, None] for head in heads]
    found = dict(zip(FUSED_HEADS, columns, strict=True))
    found["quality"] = np.zeros((len(columns[0]), 1, 3), dtype=np.float32)
    return found | {name: np.asarray(values, np.float32) for name, values in single.items()}


def pool_with(labels: np.ndarray, logits: FaceLogits, **parts: Any) -> Pool:
    """Faces as they are stored, with surroundings, each of the same weight."""
    values: dict[str, Any] = {
        "weights": np.ones(len(labels)),
        "surroundings": np.ones(len(labels)),
        "copy": np.full(len(labels), AS_IT_IS),
    }
    return Pool(labels=labels, logits=logits, **{**values, **parts})


def drawn_logits(
    count: int = 4000, overconfidence: float = 3.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from true logits, and the logits of a network that exaggerates them."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, count)
    labels = (rng.random(count) < sigmoid(true)).astype(np.int64)
    return labels, overconfidence * true


def drawn_pool(seed: int = 0, count: int = 4000, **parts: Any) -> Pool:
    labels, logit = drawn_logits(count, 1.0, seed)
    return pool_with(labels, logits_of(logit, logit, logit), **parts)


def test_golden_section_finds_the_valley() -> None:
    assert golden_section(lambda x: (x - 0.3) ** 2, -1, 2) == pytest.approx(0.3, abs=1e-4)


def test_log_loss_of_two_faces() -> None:
    labels, scores, even = np.array([1, 0]), np.array([0.8, 0.4]), np.ones(2)
    expected = -(math.log(0.8) + math.log(0.6)) / 2
    assert log_loss(labels, scores, even) == pytest.approx(expected)
    expected = -(3 * math.log(0.8) + math.log(0.6)) / 4
    assert log_loss(labels, scores, np.array([3.0, 1.0])) == pytest.approx(expected)
    assert math.isfinite(log_loss(labels, np.array([0.0, 1.0]), even))


def test_a_weighted_quantile_worked_out_by_hand() -> None:
    """Values 1 2 3 4 with 4, 3, 2 and 1 tenths of the weight."""
    values, weights = np.array([4.0, 1.0, 3.0, 2.0]), np.array([10.0, 40.0, 20.0, 30.0])
    found = [weighted_quantile(values, weights, frac) for frac in (0, 0.4, 0.41, 0.7, 0.9, 0.95, 1)]
    assert found == [1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0]
    equal = np.ones(4)
    assert weighted_quantile(values, equal, 0.5) == 2.0
    assert weighted_quantile(values, 7 * equal, 0.51) == 3.0


def test_temperature_undoes_overconfidence() -> None:
    labels, logit = drawn_logits(overconfidence=3.0)
    found = fit_temperature(pool_with(labels, logits_of(logit, logit, logit)), ONE_HEAD)
    assert found == pytest.approx(3.0, rel=0.08)


def test_no_other_temperature_is_better() -> None:
    labels, logit = drawn_logits(400)
    weights = np.random.default_rng(5).uniform(0.2, 3, 400)
    pool = pool_with(labels, logits_of(logit, 0.5 * logit, -logit), weights=weights)
    best = fit_temperature(pool, MIXED)

    def loss(temperature: float) -> float:
        return log_loss(labels, fuse_face(pool.logits, temperature, MIXED), weights)

    assert loss(best) <= min(loss(float(t)) for t in np.geomspace(0.2, 10, 200)) + 1e-9


def test_separable_faces_end_at_the_lowest_temperature() -> None:
    labels, logit = np.array([0, 1]), np.array([-0.1, 0.1])
    pool = pool_with(labels, logits_of(logit, logit, logit))
    assert fit_temperature(pool, ONE_HEAD) == pytest.approx(0.2, rel=1e-3)


def test_learned_fusion_finds_the_head_that_knows() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    noise = np.random.default_rng(1).normal(0, 1, len(labels))
    found = fit_weights(pool_with(labels, logits_of(noise, logit, -logit)))
    assert found.inswapper == pytest.approx(1.0, abs=0.15)
    assert found.real_fake == pytest.approx(0.0, abs=0.1)
    assert found.boundary == 0.0  # its weight would be negative
    assert found.seam == 0.0  # there is none


def test_learned_fusion_hears_a_seam_that_knows() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    noise = np.random.default_rng(1).normal(0, 1, len(labels))
    found = fit_weights(pool_with(labels, logits_of(noise, noise, noise, seam=logit)))
    assert found.seam == pytest.approx(1.0, abs=0.15)
    assert sum(getattr(found, head) for head in FUSED_HEADS) == pytest.approx(0.0, abs=0.1)


def test_a_seam_that_tells_nothing_new_gets_no_weight() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    heads = (logit, np.zeros(len(labels)), np.zeros(len(labels)))
    without = fit_weights(pool_with(labels, logits_of(*heads)))
    noise = np.random.default_rng(2).normal(0, 1, len(labels))
    misleading = noise - logit  # the more it says, the less it is true
    found = fit_weights(pool_with(labels, logits_of(*heads, seam=misleading)))
    constant = fit_weights(pool_with(labels, logits_of(*heads, seam=np.zeros(len(labels)))))
    assert found.seam == 0.0 or found.seam < 0.02
    assert constant.seam == pytest.approx(0.0, abs=1e-6)
    assert constant.real_fake == pytest.approx(without.real_fake, rel=1e-3)
    blind = (np.zeros(len(labels)),) * 3
    against = fit_weights(pool_with(labels, logits_of(*blind, seam=-logit)))
    assert against.seam == 0.0


def test_weights_count_in_the_learned_fusion() -> None:
    """A source that weighs nothing changes nothing."""
    labels, logit = drawn_logits(400, 1.0)
    known = fit_weights(pool_with(labels, logits_of(logit, 0 * logit, 0 * logit)))
    both = np.concatenate([logit, -logit])
    pool = pool_with(
        np.tile(labels, 2),
        logits_of(both, 0 * both, 0 * both),
        weights=np.repeat([1.0, 1e-9], 400),
    )
    # Weights are scaled to a mean of 1, so that the L2 strength counts half as much here.
    assert fit_weights(pool).real_fake == pytest.approx(known.real_fake, rel=0.01)


def test_where_no_seam_can_be_seen_the_weights_are_others() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    noise = np.random.default_rng(3).normal(0, 1, len(labels))
    is_tight = np.arange(len(labels)) % 4 == 0
    seam = np.where(is_tight, noise, logit)
    shares = np.where(is_tight, 0.1, 0.8)
    logits = logits_of(noise, logit / 2, noise, seam=seam, surroundings=shares)
    pool = pool_with(labels, logits, surroundings=shares)
    found = fit_fusion(pool, tight_below=0.25)
    assert found.tight is not None
    assert found.tight_below == 0.25
    assert found.tight == fit_weights(pool.where(is_tight))
    assert found.model_dump(exclude={"tight", "tight_below"}) == (
        fit_weights(pool.where(~is_tight)).model_dump()
    )
    assert found.seam > 0.3 > found.tight.seam
    scores = fuse_face(logits, 1.0, found)
    for rows, weights in ((is_tight, found.tight), (~is_tight, fit_weights(pool.where(~is_tight)))):
        alone = fuse_face(pool.where(rows).logits, 1.0, LearnedFusion(**weights.model_dump()))
        np.testing.assert_allclose(scores[rows], alone)


def test_few_faces_of_a_kind_get_no_weights_of_their_own() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    shares = np.where(np.arange(len(labels)) < FEWEST_FACES, 0.1, 0.8)
    pool = pool_with(labels, logits_of(logit, logit, logit), surroundings=shares)
    found = fit_fusion(pool, tight_below=0.25)
    assert found.tight is None
    assert found == LearnedFusion(**fit_weights(pool).model_dump())


def faces_of(soft_shift: float = 0.0) -> ScoredCopies:
    labels, logit = drawn_logits(400)
    soft = logit + soft_shift * (labels == 0)
    around = {SURROUNDINGS: np.ones(400)}
    copies = {AS_IT_IS: logits_of(logit, logit, logit, **around)}
    return ScoredCopies(
        labels=labels,
        is_inswapper=labels,
        face_px=np.where(np.arange(400) % 2, 100.0, 200.0),
        sources=np.full(400, "videos"),
        copies=copies | {name: logits_of(soft, soft, soft, **around) for name in SOFT_COPIES},
    )


def test_both_fusions_are_fitted_and_params_choose() -> None:
    fixed_first = calibrate(faces_of(), MIXED, PARAMS)
    learned_first = calibrate(faces_of(), MIXED, PARAMS.model_copy(update={"fusion": "learned"}))
    assert fixed_first.decision == learned_first.other
    assert fixed_first.other == learned_first.decision
    assert isinstance(fixed_first.other.fusion, LearnedFusion)
    assert fixed_first.decision.fusion == MIXED
    assert fixed_first.other.temperature == 1.0


def test_softer_reals_raise_the_limit_for_fake() -> None:
    sharp, soft = (
        fit_decision(pool_of(faces_of(shift), 60), MIXED, 3.0, PARAMS).thresholds
        for shift in (0.0, 2.0)
    )
    assert soft.fake_from > sharp.fake_from
    assert soft.suspicious_from > sharp.suspicious_from
    # These two are of the faces as they are stored.
    assert (soft.balanced, soft.best_f1) == (sharp.balanced, sharp.best_f1)


def test_soft_copies_that_are_too_small_to_be_judged_do_not_count() -> None:
    faces = faces_of()
    high = np.full(400, 50.0)
    around = {SURROUNDINGS: np.ones(400)}  # at most 70 px are left
    third = {"third": logits_of(high, high, high, **around)}
    tiny = replace(faces, copies=faces.copies | third)
    strict = PARAMS.model_copy(update={"min_face_px": 71})
    assert (
        calibrate(tiny, MIXED, strict).decision.thresholds
        == calibrate(faces, MIXED, strict).decision.thresholds
    )
    report = validation_report(tiny, calibrate(tiny, MIXED, strict), strict)
    assert "third" not in report["copies"]
    assert calibrate(tiny, MIXED, PARAMS).decision.thresholds.low_fpr > 0.99


def test_a_pool_holds_what_would_be_judged() -> None:
    pool = pool_of(faces_of(), 60)
    counts = {name: int((pool.copy == name).sum()) for name in np.unique(pool.copy)}
    # Half of the faces are of 100 px, half of 200: of a third only the latter are large enough.
    smaller = {"half": 200, "third": 200}
    assert counts == dict.fromkeys((AS_IT_IS, *SOFT_COPIES), 400) | smaller
    assert pool.logits["real_fake"].shape == (2400, 1)
    part = pool.where(pool.copy == "half")
    assert len(part.labels) == len(part.weights) == len(part.logits["quality"]) == 200


def test_within_a_class_every_source_weighs_the_same() -> None:
    faces = faces_of()
    sources = np.where(np.arange(400) < 350, "many", "few")
    pool = pool_of(replace(faces, sources=sources), 60)
    names = np.concatenate(
        [
            sources[faces.face_px * factor >= 60]
            for factor in (1.0, *(copy.size_factor for copy in SOFT_COPIES.values()))
        ]
    )
    assert pool.weights.mean() == pytest.approx(1.0)
    for label in (0, 1):
        rows = pool.labels == label
        assert pool.weights[rows].mean() == pytest.approx(1.0)
        many, few = (pool.weights[rows & (names == name)] for name in ("many", "few"))
        assert many.sum() == pytest.approx(few.sum())
        assert np.ptp(many) < 1e-12
        assert np.ptp(few) < 1e-12


def test_one_large_source_does_not_set_the_limit() -> None:
    """Of 90 studio photos and 10 of a phone, one of the phone's reals looks swapped."""
    labels = np.array([0] * 100 + [1] * 50)
    logit = np.array([-3.0] * 99 + [1.0] + [3.0] * 50)
    sources = np.array(["studio"] * 90 + ["phone"] * 10 + ["phone"] * 50)
    faces = ScoredCopies(
        labels=labels,
        is_inswapper=labels,
        face_px=np.full(150, 200.0),
        sources=sources,
        copies={AS_IT_IS: logits_of(logit, logit, logit, surroundings=np.ones(150))},
    )
    strict = PARAMS.model_copy(update={"low_fpr": 0.04})
    limit, lone = float(sigmoid(1.0)), replace(faces, sources=np.full(150, "one"))
    # It is one of ten of its source, and its source half of all: 5 % of the weight, not 1 %.
    by_source = fit_decision(pool_of(faces, 60), ONE_HEAD, 1.0, strict)
    together = fit_decision(pool_of(lone, 60), ONE_HEAD, 1.0, strict)
    assert by_source.thresholds.low_fpr > limit
    assert together.thresholds.low_fpr < limit


def test_the_promised_false_positive_rate_is_kept_over_all_copies() -> None:
    faces = faces_of(0.5)
    report = validation_report(faces, calibrate(faces, MIXED, PARAMS), PARAMS)
    assert report["copies"]["all"]["fpr"] <= PARAMS.low_fpr + 1e-9
    copies = [report["copies"][name] for name in (AS_IT_IS, *SOFT_COPIES)]
    fprs = [found["fpr"] for found in copies]
    assert np.average(fprs, weights=[found["n_real"] for found in copies]) <= PARAMS.low_fpr + 1e-9
    assert set(report["thresholds"]) == {"open", "tight"}
    assert set(report["rates"]) == {"best_f1", "low_fpr", "balanced", "suspicious"}
    assert set(report["fusion"]) == {"fixed", "learned"}


def test_conformal_sets_keep_their_promise_on_faces_not_seen() -> None:
    for seed in (1, 2):
        decision = fit_decision(drawn_pool(seed, 12000), ONE_HEAD, 1.0, PARAMS)
        fitted = copies_report(drawn_pool(seed, 12000), decision)["all"]
        fresh = copies_report(drawn_pool(seed + 10, 12000), decision)["all"]
        for name in ("coverage_real", "coverage_fake"):
            assert 0.9 <= fitted[name] < 0.9005
            assert fresh[name] == pytest.approx(0.9, abs=0.02)
        # Classes that overlap this much leave a good part undecided.
        assert 0.1 < fresh["both_possible"] < 0.9


def test_conformal_sets_are_promised_to_each_class_by_its_weights() -> None:
    """A soft source of few faces gets the coverage of its share of the weight."""
    labels, logit = drawn_logits(4000, 1.0)
    soft = np.arange(4000) % 10 == 0
    shifted = logit + 3.0 * soft
    weights = np.where(soft, 9.0, 1.0)
    pool = pool_with(labels, logits_of(shifted, shifted, shifted), weights=weights)
    decision = fit_decision(pool, ONE_HEAD, 1.0, PARAMS)
    kept = sigmoid(shifted) <= decision.open.conformal.real_at_most
    reals = labels == 0
    assert np.average(kept[reals], weights=weights[reals]) == pytest.approx(0.9, abs=0.01)
    assert kept[reals].mean() > 0.95


@pytest.mark.parametrize("few", [FEWEST_FACES, FEWEST_FACES - 1])
def test_faces_that_fill_the_picture_get_limits_of_their_own_if_there_are_enough(few: int) -> None:
    labels, logit = drawn_logits(2000, 1.0)
    tight = np.zeros(2000, bool)
    for label in (0, 1):
        tight[np.flatnonzero(labels == label)[: few if label else 200]] = True
    shifted = logit + 1.5 * tight
    pool = pool_with(
        labels, logits_of(shifted, shifted, shifted), surroundings=np.where(tight, 0.2, 0.9)
    )
    decision = fit_decision(pool, ONE_HEAD, 1.0, PARAMS)
    assert decision.min_surroundings_frac == 0.25
    if few < FEWEST_FACES:
        everyone = fit_decision(
            replace(pool, surroundings=np.ones(2000)), ONE_HEAD, 1.0, PARAMS
        ).open
        assert decision.tight == everyone
        assert decision.open != everyone
    else:
        alone = fit_decision(
            replace(pool.where(tight), surroundings=np.ones(int(tight.sum()))),
            *(ONE_HEAD, 1.0, PARAMS),
        ).open
        assert decision.tight == alone
        assert decision.tight.thresholds.low_fpr > decision.open.thresholds.low_fpr


def test_less_evidence_never_lowers_the_limit_for_fake() -> None:
    labels, logit = drawn_logits(2000, 1.0)
    tight = np.arange(2000) % 2 == 0
    shifted = logit - 2.0 * tight  # as if less to see made faces look more real
    pool = pool_with(
        labels, logits_of(shifted, shifted, shifted), surroundings=np.where(tight, 0.2, 0.9)
    )
    decision = fit_decision(pool, ONE_HEAD, 1.0, PARAMS)
    assert decision.tight.thresholds.low_fpr == decision.open.thresholds.low_fpr
    assert decision.tight.thresholds.suspicious < decision.open.thresholds.suspicious


def test_the_softest_pictures_are_not_judged() -> None:
    labels = np.array([0] * 100 + [1] * 50)
    detail = np.concatenate([np.arange(100.0), np.full(50, -999.0)])
    detail[50] = np.nan  # a face without surroundings
    logit = np.where(labels == 1, 3.0, -3.0)
    pool = pool_with(labels, logits_of(logit, logit, logit, **{DETAIL: detail}))
    decision = fit_decision(pool, ONE_HEAD, 1.0, PARAMS)
    limit = decision.min_detail
    assert limit is not None
    reals = detail[:100][np.isfinite(detail[:100])]
    assert (reals < limit).mean() <= PARAMS.soft_frac
    assert (reals <= limit).mean() >= PARAMS.soft_frac
    without = fit_decision(pool_with(labels, logits_of(logit, logit, logit)), *(MIXED, 1.0, PARAMS))
    assert without.min_detail is None


def test_a_drawn_split_from_pictures_to_file(tmp_path: Path) -> None:
    store = drawn_store(people=3, frames=1)
    faces = score_copies(Scorer(SharpnessNet().eval(), PREPROCESS, stump()), store)
    assert list(faces.copies) == [AS_IT_IS, *SOFT_COPIES]
    for logits in faces.copies.values():
        assert logits["real_fake"].shape == (6, 4)
        assert logits[SEAM].shape == logits[DETAIL].shape == (6,)
    blurred, plain = faces.copies["blur"]["real_fake"], faces.logits["real_fake"]
    assert (blurred > plain).all()
    assert (faces.copies["blur"][DETAIL] < faces.logits[DETAIL]).all()
    assert faces.labels.tolist() == [0, 1] * 3
    assert faces.surroundings.tolist() == [1.0] * 6
    calibration = calibrate(faces, MIXED, PARAMS)
    path = tmp_path / "calibration.json"
    write_json(path, calibration.model_dump())
    again = read_calibration(path).decision
    assert again.thresholds == calibration.decision.thresholds
    assert again.tight.conformal.fake_at_least == pytest.approx(
        calibration.decision.tight.conformal.fake_at_least, rel=1e-5
    )
    assert len(sweep_rows(faces, calibration.decision, 19)) == 19


def test_a_calibration_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(ManifestError, match=r"calibration\.json: not found; run calibrate"):
        read_calibration(path)
    write_json(path, {"decision": {"temperature": -1}})
    with pytest.raises(ManifestError, match=r"calibration\.json: decision\.temperature"):
        read_calibration(path)


def test_a_decision_says_which_fusion_it_uses() -> None:
    spec = calibrate(faces_of(), MIXED, PARAMS).other
    assert DecisionSpec.model_validate_json(spec.model_dump_json()) == spec
