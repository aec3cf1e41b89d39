from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.decision.decide import decide
from pipeline.decision.fusion import DETAIL, SEAM
from pipeline.runtime.errors import ManifestError
from pipeline.seam.features import outside_detail, seam_features
from pipeline.seam.rings import ring_statistics
from pipeline.training.pairs.degradations import as_it_is
from pipeline.training.scoring.copies import score_copies
from pipeline.training.scoring.scorer import (
    FaceLogits,
    Scorer,
    crop_logits,
    decided,
    face_scores,
    rows_of_faces,
    taken,
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
SCORER = Scorer(NET, PREPROCESS, TREES)


@pytest.fixture(scope="module")
def store() -> FaceStore:
    return drawn_store(people=2, frames=2)


@pytest.fixture(scope="module")
def logits(store: FaceStore) -> FaceLogits:
    return SCORER.stored(store)


def answer(view: np.ndarray) -> float:
    with torch.inference_mode():
        return float(NET(torch.from_numpy(PREPROCESS.to_input(view[None])))["real_fake"])


def test_logits_lie_by_face_and_by_view(store: FaceStore, logits: FaceLogits) -> None:
    assert logits["real_fake"].shape == (8, 4)
    assert logits["quality"].shape == (8, 4, 3)
    assert logits["seam_map"].shape == (8, 4, 32, 32)
    assert logits["real_fake"][5, 1] == pytest.approx(answer(store.crops(3 * 5 + 1)), abs=1e-5)
    keypoints = store.keypoints(5)
    assert keypoints is not None
    aligned = aligned_view(store.context(5), keypoints, PREPROCESS.size_px).rgb
    assert logits["real_fake"][5, 3] == pytest.approx(answer(aligned), abs=1e-5)


def test_the_trees_answer_once_a_face(store: FaceStore, logits: FaceLogits) -> None:
    images = [image_of(store, face) for face in range(8)]
    statistics = np.stack([ring_statistics(p.rgb, p.keypoints) for p in images])
    numbers = seam_features(statistics)
    assert logits[SEAM].tolist() == TREES.logits(numbers).tolist()
    assert set(logits[SEAM].tolist()) <= {-1.0, 1.0}
    np.testing.assert_array_equal(logits[DETAIL], outside_detail(numbers))


def test_without_trees_there_is_no_seam(store: FaceStore, logits: FaceLogits) -> None:
    found = Scorer(NET, PREPROCESS).of_faces(store, [5])
    assert set(found) == set(logits) - {SEAM, DETAIL}
    assert found["real_fake"] == pytest.approx(logits["real_fake"][[5]], abs=1e-5)


def test_only_the_views_of_the_network_are_scored(store: FaceStore, logits: FaceLogits) -> None:
    narrow = Scorer(NET, replace(PREPROCESS, scales=(1.5,), aligned=False))
    found = narrow.stored(store)["real_fake"]
    assert found == pytest.approx(logits["real_fake"][:, 1:2], abs=1e-5)
    aligned = Scorer(NET, replace(PREPROCESS, scales=()))
    assert aligned.stored(store)["real_fake"] == pytest.approx(logits["real_fake"][:, 3:], abs=1e-5)


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
    fault = r"inswapper/p1/000001_0': no crop of scale 2 .* 1 faces are like this"
    with pytest.raises(ManifestError, match=fault):
        rows_of_faces(short, PREPROCESS.scales)


def test_a_face_without_keypoints_is_refused_where_they_are_needed(store: FaceStore) -> None:
    blind = replace(store, faces=store.faces.assign(kp0_x=np.nan))
    for scorer in (SCORER, replace(SCORER, trees=None)):
        with pytest.raises(ManifestError, match="a face without keypoints"):
            scorer.of_faces(blind, [0])
    boxes_only = Scorer(NET, replace(PREPROCESS, aligned=False))
    assert boxes_only.of_faces(blind, [0])["real_fake"].shape == (1, 3)


def test_an_unchanged_context_gives_the_stored_crops_again(
    store: FaceStore, logits: FaceLogits
) -> None:
    again = SCORER.degraded(store, [6, 1], as_it_is)
    assert set(again) == set(logits) - {"seam_map"}
    for head, values in again.items():
        assert values == pytest.approx(logits[head][[6, 1]], abs=1e-5)
        assert values == pytest.approx(taken(logits, np.array([6, 1]))[head], abs=1e-5)


def test_the_batch_does_not_change_a_logit(store: FaceStore) -> None:
    crops = [store.crops(row % 24) for row in range(70)]
    found = crop_logits(NET, iter(crops), PREPROCESS)["real_fake"]
    assert found[:20] == pytest.approx(found[24:44], abs=1e-5)
    with pytest.raises(ValueError, match="no crops"):
        crop_logits(NET, [], PREPROCESS)


def test_decisions_are_those_of_the_product(store: FaceStore, logits: FaceLogits) -> None:
    surroundings = surroundings_fracs(store)
    surroundings[2] = 0.01
    table = decided(store.faces, logits, SPEC, surroundings)
    for face in range(8):
        expected = decide(
            {head: values[face] for head, values in logits.items()},
            SPEC,
            face_px=store.faces.at[face, "face_px"],
            surroundings=surroundings[face],
        )
        assert table.at[face, "score"] == expected.score
        assert table.at[face, "verdict"] == expected.verdict
        assert table.at[face, "called"] == float(expected.verdict == "fake")
        assert table.at[face, "surroundings"] == surroundings[face]
        assert table.at[face, "view_score_3"] == expected.view_scores[3]
    small = store.faces["face_px"] < 95
    assert small.any()
    assert (table.loc[small, "verdict"] == "undecided").all()
    assert table.at[2, "verdict"] == "undecided"
    assert face_scores(logits, SPEC) == pytest.approx(table["score"].to_numpy())


def test_faces_in_the_middle_of_an_image_have_surroundings(store: FaceStore) -> None:
    assert surroundings_fracs(store).tolist() == [1.0] * 8


def test_copies_of_some_faces_are_those_of_all(store: FaceStore) -> None:
    scorer = Scorer(NET, PREPROCESS)
    chosen = np.array([1, 6])
    some, everyone = score_copies(scorer, store, chosen), score_copies(scorer, store)
    np.testing.assert_array_equal(some.labels, everyone.labels[chosen])
    np.testing.assert_array_equal(some.sources, everyone.sources[chosen])
    np.testing.assert_array_equal(some.surroundings, everyone.surroundings[chosen])
    assert some.copies.keys() == everyone.copies.keys()
    for name, logits in some.copies.items():
        expected = everyone.copies[name]["real_fake"][chosen]
        assert logits["real_fake"] == pytest.approx(expected, abs=1e-5)


def test_evenly_spread_choices() -> None:
    indices = np.arange(10, 20)
    assert evenly(indices, 4).tolist() == [10, 13, 16, 19]
    assert evenly(indices, 10).tolist() == indices.tolist()
    assert evenly(indices, 99).tolist() == indices.tolist()
