from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.decision import DecisionSpec, decide
from pipeline.errors import ManifestError
from pipeline.params import FusionParams
from pipeline.thresholds import Thresholds
from pipeline.training.scoring import (
    crop_logits,
    decided,
    degraded_logits,
    evenly,
    face_scores,
    inside_fracs,
    rows_of_faces,
    stored_logits,
)
from pipeline.training.store import FaceStore
from tests.face_stores import PREPROCESS, SharpnessNet, drawn_store

SPEC = DecisionSpec(
    temperature=1.5,
    fusion=FusionParams(real_fake=0.55, inswapper=0.3, boundary=0.15),
    thresholds=Thresholds(best_f1=0.5, low_fpr=0.6, balanced=0.5),
    min_face_px=95,
)
NET = SharpnessNet().eval()


@pytest.fixture(scope="module")
def store() -> FaceStore:
    return drawn_store(people=2, frames=2)


def unchanged(rgb, box_xyxy):
    return rgb, box_xyxy


def test_logits_lie_by_face_and_by_ascending_scale(store: FaceStore) -> None:
    logits = stored_logits(NET, store, PREPROCESS)
    assert logits["real_fake"].shape == (8, 3)
    assert logits["quality"].shape == (8, 3, 3)
    assert logits["seam_map"].shape == (8, 3, 32, 32)
    inputs = torch.from_numpy(PREPROCESS.to_input(store.crops(3 * 5 + 1)[None]))
    with torch.inference_mode():
        expected = NET(inputs)["real_fake"]
    assert logits["real_fake"][5, 1] == pytest.approx(float(expected), abs=1e-5)


def test_rows_that_are_shuffled_are_put_in_order(store: FaceStore) -> None:
    order = np.random.default_rng(0).permutation(len(store.table))
    shuffled = replace(
        store,
        table=store.table.iloc[order].reset_index(drop=True),
        face_of_crop=store.face_of_crop[order],
    )
    rows = rows_of_faces(shuffled, 3)
    assert (shuffled.face_of_crop[rows] == np.arange(8)[:, None]).all()
    scales = shuffled.table["crop_scale"].to_numpy()[rows]
    assert (scales == PREPROCESS.scales).all()


def test_a_face_without_all_its_crops_is_named(store: FaceStore) -> None:
    short = replace(store, table=store.table.iloc[:-1], face_of_crop=store.face_of_crop[:-1])
    with pytest.raises(ManifestError, match=r"inswapper/p1/000001_0': expected 3 crops .* got 2"):
        rows_of_faces(short, 3)


def test_an_unchanged_context_gives_the_stored_crops_again(store: FaceStore) -> None:
    stored = stored_logits(NET, store, PREPROCESS)
    again = degraded_logits(NET, store, [6, 1], unchanged, PREPROCESS)
    for head, values in again.items():
        assert values == pytest.approx(stored[head][[6, 1]], abs=1e-5)


def test_the_batch_does_not_change_a_logit(store: FaceStore) -> None:
    crops = [store.crops(row % 24) for row in range(70)]
    found = crop_logits(NET, iter(crops), PREPROCESS)["real_fake"]
    assert found[:20] == pytest.approx(found[24:44], abs=1e-5)
    with pytest.raises(ValueError, match="no crops"):
        crop_logits(NET, [], PREPROCESS)


def test_decisions_are_those_of_the_product(store: FaceStore) -> None:
    logits = stored_logits(NET, store, PREPROCESS)
    inside = inside_fracs(store)
    inside[2] = 0.1
    table = decided(store.faces, logits, SPEC, inside)
    for face in range(8):
        expected = decide(
            {head: values[face] for head, values in logits.items()},
            SPEC,
            face_px=store.faces.at[face, "face_px"],
            inside_frac=inside[face],
        )
        assert table.at[face, "score"] == expected.score
        assert table.at[face, "verdict"] == expected.verdict
        assert table.at[face, "crop_score_2"] == expected.crop_scores[2]
    small = store.faces["face_px"] < 95
    assert small.any()
    assert (table.loc[small, "verdict"] == "undecided").all()
    assert table.at[2, "verdict"] == "undecided"
    assert face_scores(logits, SPEC) == pytest.approx(table["score"].to_numpy())


def test_faces_in_the_middle_of_a_picture_have_surroundings(store: FaceStore) -> None:
    assert inside_fracs(store).tolist() == [1.0] * 8


def test_evenly_spread_choices() -> None:
    indices = np.arange(10, 20)
    assert evenly(indices, 4).tolist() == [10, 13, 16, 19]
    assert evenly(indices, 10).tolist() == indices.tolist()
    assert evenly(indices, 99).tolist() == indices.tolist()
