from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.decision.decide import decide
from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.scorer import FaceScorer
from pipeline.runtime.errors import DetectorError, ManifestError
from pipeline.seam.features import outside_detail, seam_features
from pipeline.seam.rings import ring_statistics
from pipeline.training.pairs.degradations import as_it_is
from pipeline.training.scoring.copies import score_copies
from pipeline.training.scoring.scorer import (
    decided,
    degraded_evidence,
    face_scores,
    rows_of_faces,
    stored_evidence,
    torch_network,
)
from pipeline.training.store.reader import FaceStore, evenly, image_of, surroundings_fracs
from pipeline.views.aligned import aligned_view
from tests.support.decisions import decision_of, limits_of
from tests.support.face_stores import PREPROCESS, SharpnessNet, drawn_store
from tests.support.tiny_trees import stump

# A face that fills the image is undecided whatever its score.
SPEC = decision_of(limits_of(0.5, 0.6), limits_of(0.0, 1.0), temperature=1.5, min_face_px=95)
NET = SharpnessNet().eval()
TREES = stump("power_drop_band0_0", -0.5)
SCORER = FaceScorer(torch_network(NET), PREPROCESS, TREES)


@pytest.fixture(scope="module")
def store() -> FaceStore:
    return drawn_store(people=2, frames=2)


@pytest.fixture(scope="module")
def evidence(store: FaceStore) -> FaceEvidence:
    return stored_evidence(SCORER, store, visuals=True)


def answer(view: np.ndarray) -> float:
    with torch.inference_mode():
        return float(NET(torch.from_numpy(PREPROCESS.to_input(view[None])))["real_fake"])


def test_logits_lie_by_face_and_by_view(store: FaceStore, evidence: FaceEvidence) -> None:
    assert evidence.real_fake.shape == (8, 4)
    assert evidence.quality.shape == (8, 4, 3)
    assert evidence.seam_map is not None
    assert evidence.seam_map.shape == (8, 4, 32, 32)
    assert evidence.real_fake[5, 1] == pytest.approx(answer(store.crops(3 * 5 + 1)), abs=1e-5)
    keypoints = store.keypoints(5)
    assert keypoints is not None
    aligned = aligned_view(store.context(5), keypoints, PREPROCESS.size_px).rgb
    assert evidence.real_fake[5, 3] == pytest.approx(answer(aligned), abs=1e-5)


def test_the_trees_answer_once_per_face(store: FaceStore, evidence: FaceEvidence) -> None:
    images = [image_of(store, face) for face in range(8)]
    statistics = np.stack([ring_statistics(p.rgb, p.keypoints) for p in images])
    features = seam_features(statistics)
    np.testing.assert_array_equal(evidence.trees, TREES.logits(features))
    assert evidence.trees is not None
    assert set(evidence.trees.tolist()) <= {-1.0, 1.0}
    np.testing.assert_array_equal(evidence.detail, outside_detail(features))
    np.testing.assert_array_equal(evidence.rings, statistics)


def test_what_people_look_at_is_kept_on_request_only(store: FaceStore) -> None:
    found = stored_evidence(SCORER, store, [0])
    assert found.seam_map is found.rings is None


def test_without_trees_there_is_no_seam(store: FaceStore, evidence: FaceEvidence) -> None:
    found = stored_evidence(FaceScorer(torch_network(NET), PREPROCESS), store, [5])
    assert found.trees is found.detail is None
    assert found.real_fake == pytest.approx(evidence.real_fake[[5]], abs=1e-5)


def test_only_the_views_of_the_network_are_scored(store: FaceStore, evidence: FaceEvidence) -> None:
    narrow = replace(SCORER, preprocess=replace(PREPROCESS, scales=(1.5,), aligned=False))
    found = stored_evidence(narrow, store).real_fake
    assert found == pytest.approx(evidence.real_fake[:, 1:2], abs=1e-5)
    aligned = replace(SCORER, preprocess=replace(PREPROCESS, scales=()))
    found = stored_evidence(aligned, store).real_fake
    assert found == pytest.approx(evidence.real_fake[:, 3:], abs=1e-5)


def test_rows_that_are_shuffled_are_put_in_order(store: FaceStore) -> None:
    order = np.random.default_rng(0).permutation(len(store.table))
    shuffled = replace(
        store,
        table=store.table.iloc[order].reset_index(drop=True),
        face_of_crop=store.face_of_crop[order],
    )
    rows = rows_of_faces(shuffled, PREPROCESS.scales)
    assert (shuffled.face_of_crop[rows] == np.arange(8)[:, None]).all()
    scales = shuffled.table["crop_scale"].to_numpy()[rows]
    assert (scales == PREPROCESS.scales).all()
    assert rows_of_faces(shuffled, (2.0,)).tolist() == rows[:, 2:].tolist()
    assert rows_of_faces(shuffled, ()).shape == (8, 0)


def test_a_face_without_all_its_crops_is_named(store: FaceStore) -> None:
    short = replace(store, table=store.table.iloc[:-1], face_of_crop=store.face_of_crop[:-1])
    assert len(rows_of_faces(short, (1.1, 1.5))) == 8
    fault = r"inswapper/p1/000001_0': no crop of scale 2 .* 1 faces lack it"
    with pytest.raises(ManifestError, match=fault):
        rows_of_faces(short, PREPROCESS.scales)


def test_a_face_without_keypoints_is_refused_where_they_are_needed(store: FaceStore) -> None:
    blind = replace(store, faces=store.faces.assign(kp0_x=np.nan))
    for scorer in (SCORER, replace(SCORER, trees=None)):
        with pytest.raises(DetectorError, match="gave no keypoints"):
            stored_evidence(scorer, blind, [0])
    boxes_only = FaceScorer(torch_network(NET), replace(PREPROCESS, aligned=False))
    assert stored_evidence(boxes_only, blind, [0]).real_fake.shape == (1, 3)


def test_an_unchanged_context_gives_the_stored_crops_again(
    store: FaceStore, evidence: FaceEvidence
) -> None:
    again, expected = degraded_evidence(SCORER, store, [6, 1], as_it_is), evidence[np.array([6, 1])]
    for name in ("real_fake", "inswapper", "boundary", "quality", "trees", "detail"):
        assert getattr(again, name) == pytest.approx(getattr(expected, name), abs=1e-5)


def test_the_batch_does_not_change_a_face(store: FaceStore, evidence: FaceEvidence) -> None:
    many = stored_evidence(SCORER, store, [face % 8 for face in range(18)])
    assert many.real_fake == pytest.approx(np.tile(evidence.real_fake, (3, 1))[:18], abs=1e-5)
    with pytest.raises(ValueError, match="no faces"):
        stored_evidence(SCORER, store, [])


def test_evidence_is_taken_by_number_mask_and_part(evidence: FaceEvidence) -> None:
    parts = FaceEvidence.concatenated([evidence[:3], evidence[np.arange(8) >= 3]])
    for field in fields(FaceEvidence):
        whole = getattr(evidence, field.name)
        np.testing.assert_array_equal(getattr(parts, field.name), whole)
        np.testing.assert_array_equal(getattr(evidence[2], field.name), whole[2])


def test_decisions_are_those_of_the_product(store: FaceStore, evidence: FaceEvidence) -> None:
    surroundings = surroundings_fracs(store)
    surroundings[2] = 0.01
    changed = replace(evidence, surroundings=surroundings)
    table = decided(store.faces, changed, SPEC)
    for face in range(8):
        expected = decide(changed[face], SPEC, face_px=store.faces.at[face, "face_px"])
        assert table.at[face, "score"] == expected.score
        assert table.at[face, "verdict"] == expected.verdict
        assert table.at[face, "called"] == float(expected.verdict == "fake")
        assert table.at[face, "surroundings"] == surroundings[face]
        assert table.at[face, "view_score_3"] == expected.view_scores[3]
    small = store.faces["face_px"] < 95
    assert small.any()
    assert (table.loc[small, "verdict"] == "undecided").all()
    assert table.at[2, "verdict"] == "undecided"
    assert face_scores(changed, SPEC) == pytest.approx(table["score"].to_numpy())


def test_faces_in_the_middle_of_an_image_have_surroundings(
    store: FaceStore, evidence: FaceEvidence
) -> None:
    assert surroundings_fracs(store).tolist() == evidence.surroundings.tolist() == [1.0] * 8


def test_copies_of_some_faces_are_those_of_all(store: FaceStore) -> None:
    scorer = replace(SCORER, trees=None)
    chosen = np.array([1, 6])
    some, everyone = score_copies(scorer, store, chosen), score_copies(scorer, store)
    np.testing.assert_array_equal(some.labels, everyone.labels[chosen])
    pd.testing.assert_frame_equal(some.faces, everyone.faces.loc[chosen])
    assert some.copies.keys() == everyone.copies.keys()
    for name, found in some.copies.items():
        expected = everyone.copies[name][chosen]
        np.testing.assert_array_equal(found.surroundings, expected.surroundings)
        assert found.real_fake == pytest.approx(expected.real_fake, abs=1e-5)


def test_evenly_spread_choices() -> None:
    indices = np.arange(10, 20)
    assert evenly(indices, 4).tolist() == [10, 13, 16, 19]
    assert evenly(indices, 10).tolist() == indices.tolist()
    assert evenly(indices, 99).tolist() == indices.tolist()
