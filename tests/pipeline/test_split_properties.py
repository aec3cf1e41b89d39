"""pipeline.splits.groups: no person and no video is in two splits, for random data."""

import itertools
import random
from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.manifest import CropRow
from pipeline.runtime.errors import SplitError
from tests.support.manifest_rows import crop_rows
from tests.support.split_rows import PARAMS, divided_rows, groups_of, holding_out, row, split_of


@st.composite
def manifests(draw: st.DrawFn) -> list[CropRow]:
    """Up to 40 crops of up to 12 people and videos, linked at random."""
    people = st.sampled_from([f"p{i}" for i in range(12)])
    videos = st.sampled_from([f"v{i}" for i in range(12)])
    rows = []
    for _ in range(draw(st.integers(1, 40))):
        fake = draw(st.sampled_from(["", "inswapper", "uniface"]))
        rows.append(
            row(
                draw(people),
                video=draw(videos),
                fake=fake,
                donor=draw(st.one_of(st.just(""), people)) if fake else "",
                original=draw(st.one_of(st.just(""), videos)) if fake else "",
            )
        )
    return rows


def keys_of(r: CropRow) -> set[str]:
    return {
        f"person {r.identity_id}",
        f"person {r.source_identity_id}" if r.source_identity_id else "",
        f"video {r.video_id}",
        f"video {r.original_video_id}" if r.original_video_id else "",
    } - {""}


def linked_sets(rows: list[CropRow]) -> list[set[str]]:
    """Connected components by brute force: merge overlapping key sets until none overlap."""
    sets: list[set[str]] = []
    for keys in map(keys_of, rows):
        overlapping = [s for s in sets if s & keys]
        sets = [s for s in sets if not s & keys] + [keys.union(*overlapping)]
    return sets


def can_be_divided(rows: list[CropRow]) -> bool:
    """Whether a valid division exists, by trying every division of the groups."""
    groups = groups_of(rows)
    classes: dict[str, set[str]] = defaultdict(set)
    for r in rows:
        classes[groups[r.identity_id]] |= {"fake", r.fake_type} if r.label else {"real"}
    needed = {"real", "fake"} | ({"inswapper"} & set().union(*classes.values()))
    return any(
        all(
            needed
            <= set().union(
                *(c for c, s in zip(classes.values(), splits, strict=True) if s == split)
            )
            for split in range(3)
        )
        for splits in itertools.product(range(3), repeat=len(classes))
    )


@given(manifests())
def test_groups_are_the_connected_components(rows: list[CropRow]) -> None:
    groups = groups_of(rows)
    for keys in linked_sets(rows):
        people = {key.removeprefix("person ") for key in keys if key.startswith("person ")}
        members = people & set(groups)
        assert {groups[name] for name in members} == {min(members)}
    assert set(groups) == {r.identity_id for r in rows}


@settings(max_examples=60)
@given(manifests(), st.integers(0, 5))
def test_no_person_and_no_video_in_two_splits(rows: list[CropRow], seed: int) -> None:
    params = PARAMS.model_copy(update={"seed": seed, "val_frac": 0.3, "test_frac": 0.2})
    try:
        divided = divided_rows(rows, params)
    except SplitError:
        return
    owner: dict[str, str] = {}
    for name, members in divided.items():
        for r in members:
            assert {owner.setdefault(key, name) for key in keys_of(r)} == {name}
    plain = [CropRow(**r.model_dump(exclude={"group"})) for rs in divided.values() for r in rs]
    assert Counter(plain) == Counter(rows)


@settings(max_examples=60)
@given(
    st.lists(
        st.sets(st.sampled_from(["", "inswapper", "uniface"]), min_size=1), min_size=1, max_size=7
    )
)
def test_split_error_exactly_when_impossible(kinds: list[set[str]]) -> None:
    """For groups of given classes and different sizes, compared with trying every division."""
    rows = [
        row(f"p{i}", fake=kind)
        for i, group in enumerate(kinds)
        for kind in sorted(group)
        for _ in range(1 + 3 * i)
    ]
    try:
        divided = divided_rows(rows, PARAMS)
    except SplitError:
        assert not can_be_divided(rows)
        return
    for members in divided.values():
        assert {r.label for r in members} == {0, 1}
        assert any("inswapper" in group for group in kinds) == any(r.is_inswapper for r in members)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(shuffler: random.Random) -> None:
    rows = crop_rows(9, frames=2, scales=(1.5,))
    expected = split_of(divided_rows(rows, PARAMS))
    shuffler.shuffle(rows)
    divided = divided_rows(rows, PARAMS)
    assert split_of(divided) == expected
    for members in divided.values():
        expected = [r for r in rows if any(r.face_id == m.face_id for m in members)]
        assert [m.face_id for m in members] == [r.face_id for r in expected]


@settings(max_examples=60)
@given(manifests(), st.lists(st.integers(0, 39), max_size=4))
def test_no_held_out_crop_is_used_for_training(rows: list[CropRow], held: list[int]) -> None:
    places = {place % len(rows) for place in held}
    rows = [
        r.model_copy(update={"source": "held" if place in places else "other"})
        for place, r in enumerate(rows)
    ]
    try:
        divided = divided_rows(rows, holding_out("held") if places else PARAMS)
    except SplitError:
        return
    owner: dict[str, str] = {}
    for name, members in divided.items():
        for r in members:
            assert r.source == "other" or name == "test"
            assert {owner.setdefault(key, name) for key in keys_of(r)} == {name}
    assert sum(map(len, divided.values())) == len(rows)
