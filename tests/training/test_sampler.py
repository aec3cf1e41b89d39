"""pipeline.training.pairs.sampler: pairs, weights and repeatability."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from pipeline.runtime.errors import ManifestError
from pipeline.training.pairs.sampler import (
    FaceBalance,
    PairSampler,
    generator_weights,
    kinds_line,
    person_weights,
)
from pipeline.training.store.reader import BOX_COLUMNS, KEYPOINT_COLUMNS


def faces(people: int = 4, frames: int = 3, **columns: float) -> pd.DataFrame:
    """Table with `frames` reals per person, and an INSwapper fake of each."""
    rows = [
        {
            "video_id": f"{kind}p{person}",
            "identity_id": f"p{person}",
            "label": int(kind != ""),
            "fake_type": "inswapper" if kind else "real",
            "original_video_id": f"p{person}" if kind else "",
            "paired": 1 if kind else -1,
            "frame_index": frame,
        }
        for person in range(people)
        for kind in ("", "inswapper/")
        for frame in range(frames)
    ]
    box = dict(zip(BOX_COLUMNS, (10.0, 10.0, 50.0, 60.0), strict=True))
    return pd.DataFrame(rows).assign(**(dict.fromkeys(KEYPOINT_COLUMNS, 1.0) | box | columns))


def sampler(table: pd.DataFrame, **changes: object) -> PairSampler:
    options = {"pseudo_frac": 0.5, "pairs": 40, "batch_size": 8, "seed": 3} | changes
    return PairSampler(table, **options)  # type: ignore[arg-type]


def test_every_pair_is_a_real_face_and_its_swap() -> None:
    table = faces()
    items = sampler(table).items(epoch=2)
    assert [item.pair for item in items] == [pair for pair in range(40) for _ in range(2)]
    for real, swap in zip(items[::2], items[1::2], strict=True):
        assert real.variant == "real"
        assert table["label"][real.face] == 0
        if swap.variant == "pseudo":
            assert swap.face == real.face
            assert (real.frame_of, swap.frame_of) == (None, None)
        else:
            assert (real.frame_of, swap.frame_of) == (swap.face, real.face)
            assert table["original_video_id"][swap.face] == table["video_id"][real.face]
            assert table["frame_index"][swap.face] == table["frame_index"][real.face]
    variants = Counter(item.variant for item in items)
    assert variants["real"] == 40
    assert 10 < variants["pseudo"] < 30


def test_epochs_differ_and_repeat() -> None:
    table = faces()
    assert sampler(table).items(1) == sampler(table).items(1)
    assert sampler(table).items(1) != sampler(table).items(2)
    assert sampler(table).items(1) != sampler(table, seed=4).items(1)


def test_batches_contain_whole_pairs() -> None:
    batches = sampler(faces(), pairs=10)
    batches.set_epoch(5)
    drawn = list(batches)
    assert [len(batch) for batch in drawn] == [8, 8, 4]
    assert len(batches) == 3
    assert [item for batch in drawn for item in batch] == batches.items(5)


def test_people_have_equal_weights() -> None:
    table = pd.DataFrame({"identity_id": ["a", "b", "b", "b"]})
    np.testing.assert_allclose(person_weights(table), [1 / 2, 1 / 6, 1 / 6, 1 / 6])


def test_source_weights_are_powers_of_their_number_of_people() -> None:
    table = pd.DataFrame(
        {"identity_id": ["a", "b", "b", "c", "d", "e"], "source": ["few", *["many"] * 5]}
    )
    everyone = np.arange(6)
    for power, few in ((1.0, 1 / 5), (0.5, 1 / 3), (0.0, 1 / 2)):
        weights = FaceBalance(source_power=power).weights(table, everyone)
        assert weights.sum() == pytest.approx(1)
        assert weights[0] == pytest.approx(few)
        assert weights[1] == weights[2] == pytest.approx(weights[3] / 2)
    # People are counted among the chosen faces: here two sources with one person each.
    np.testing.assert_allclose(FaceBalance(0.5).weights(table, np.array([0, 3])), [1 / 2, 1 / 2])


def test_faces_without_surroundings_get_their_fraction() -> None:
    table = pd.DataFrame({"identity_id": list("abcd"), "source": "s"})
    lacks_surroundings = np.array([True, True, True, False])
    balance = FaceBalance(lacks_surroundings=lacks_surroundings, tight_frac=0.2)
    np.testing.assert_allclose(balance.weights(table, np.arange(4)), [*[0.2 / 3] * 3, 0.8])
    # With only one kind, the fraction has no effect.
    np.testing.assert_allclose(balance.weights(table, np.array([0, 1])), [0.5, 0.5])
    np.testing.assert_allclose(balance.weights(table, np.array([3])), [1.0])


def test_faces_are_drawn_by_the_balance() -> None:
    table = faces(people=6).assign(source="s")
    lacks_surroundings = (table["identity_id"] == "p0").to_numpy()
    items = sampler(
        table,
        pairs=400,
        pseudo_frac=1.0,
        balance=FaceBalance(lacks_surroundings=lacks_surroundings, tight_frac=0.7),
    ).items(1)
    frac = np.mean([lacks_surroundings[item.face] for item in items])
    assert frac == pytest.approx(0.7, abs=0.07)


def test_generators_have_equal_weights_and_so_do_people_within_them() -> None:
    table = pd.DataFrame(
        {
            "identity_id": ["a", "a", "b", "a"],
            "fake_type": ["inswapper", "inswapper", "inswapper", "uniface"],
            "label": 1,
        }
    )
    np.testing.assert_allclose(generator_weights(table), [1 / 8, 1 / 8, 1 / 4, 1 / 2])


def test_without_listed_fakes_all_swaps_are_made_on_the_fly() -> None:
    table = faces()
    reals = table[table["label"] == 0].reset_index(drop=True)
    drawn = sampler(reals)
    assert drawn.pseudo_frac == 1
    assert {item.variant for item in drawn.items(1)} == {"real", "pseudo"}


def test_pseudo_swaps_of_the_manifest_are_no_genuine_fakes() -> None:
    table = faces()
    table.loc[table["label"] == 1, "fake_type"] = "pseudo"
    drawn = sampler(table)
    assert drawn.pseudo_frac == 1
    assert {item.variant for item in drawn.items(1)} == {"real", "pseudo"}
    assert drawn.summary == ("no genuine fakes in the training split: every fake is a pseudo-swap")
    # Without keypoints no swap can be made, so they are all there is.
    cannot_be_swapped = sampler(table.assign(kp0_x=np.nan))
    assert {item.variant for item in cannot_be_swapped.items(1)} == {"real", "fake"}
    assert cannot_be_swapped.kinds(1) == {"pseudo": 40, "inswapper": 0, "uniface": 0, "other": 0}


def test_every_kind_of_fake_gets_its_fraction() -> None:
    """Half of the pairs are made on the fly; few UniFace fakes count as much as many INSwapper."""
    table = faces(people=8)
    is_uniface = (table["label"] == 1) & (table["identity_id"] == "p0")
    table.loc[is_uniface, "fake_type"] = "uniface"
    drawn = sampler(table, pairs=2000)
    kinds = drawn.kinds(4)
    assert sum(kinds.values()) == 2000
    fakes = [item for item in drawn.items(4) if item.variant == "fake"]
    assert kinds["pseudo"] == 2000 - len(fakes)
    assert kinds["uniface"] == sum(is_uniface[item.face] for item in fakes)
    assert kinds["other"] == 0
    for kind, fraction in (("pseudo", 0.5), ("inswapper", 0.25), ("uniface", 0.25)):
        assert kinds[kind] / 2000 == pytest.approx(fraction, abs=0.04)
    assert drawn.summary == (
        "fakes: 50 % pseudo-swaps made on the fly, the others from 21 inswapper, 3 uniface faces"
        " of the training split, 24 of them with their original"
    )
    assert kinds_line({"pseudo": 1, "inswapper": 3}) == "25 % pseudo, 75 % inswapper"


def test_of_two_people_in_a_frame_the_one_at_the_place_of_the_fake_is_its_original() -> None:
    table = faces(people=1, frames=1)
    bystander = table[table["label"] == 0].assign(box_x0=100.0, box_x1=140.0)
    both = pd.concat([table, bystander], ignore_index=True)
    for _ in range(5):
        (real, fake) = sampler(both, pseudo_frac=0.0, pairs=1).items(1)
        assert (real.face, fake.face) == (0, 1)
    elsewhere = table.assign(box_x0=[10.0, 100.0], box_x1=[50.0, 140.0])
    assert sampler(elsewhere, pseudo_frac=0.0, pairs=1).items(1)[1].frame_of is None


def test_faces_without_keypoints_are_not_swapped() -> None:
    table = faces(kp2_y=np.nan)
    assert {item.variant for item in sampler(table).items(1)} == {"real", "fake"}
    some = faces()
    some.loc[some["identity_id"] == "p0", "kp0_x"] = np.nan
    swapped = {item.face for item in sampler(some).items(1) if item.variant == "pseudo"}
    assert "p0" not in set(some["identity_id"][list(swapped)])


def test_a_fake_without_its_original_is_paired_with_a_random_real_face() -> None:
    table = faces()
    table["original_video_id"] = ""
    items = sampler(table, pseudo_frac=0.0).items(1)
    assert all(table["label"][item.face] == 0 for item in items[::2])


@pytest.mark.parametrize("paired", [0, -1])
def test_a_fake_that_shows_another_moment_is_paired_with_a_random_real_face(paired: int) -> None:
    """Frame 1 of p0's fake does not fit its original; all others do."""
    table = faces(people=3)
    spoilt = (table["video_id"] == "inswapper/p0") & (table["frame_index"] == 1)
    table.loc[spoilt, "paired"] = paired
    items = sampler(table, pseudo_frac=0.0, pairs=400).items(1)
    partners: dict[bool, set[bool]] = {True: set(), False: set()}
    for real, fake in zip(items[::2], items[1::2], strict=True):
        same = table.loc[real.face, ["identity_id", "frame_index"]].equals(
            table.loc[fake.face, ["identity_id", "frame_index"]]
        )
        partners[bool(spoilt[fake.face])].add(same)
    assert partners == {True: {True, False}, False: {True}}


def test_splits_that_cannot_be_paired_are_refused() -> None:
    table = faces()
    with pytest.raises(ManifestError, match="needs real faces"):
        sampler(table[table["label"] == 1].reset_index(drop=True))
    reals = faces(kp0_x=np.nan)
    with pytest.raises(ManifestError, match="keypoints"):
        sampler(reals[reals["label"] == 0].reset_index(drop=True))
