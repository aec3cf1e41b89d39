"""pipeline.inputs.conventions: originals and people are recognised by the names of a folder."""

from pathlib import Path

import pytest

from pipeline.core.labels import FAKE
from pipeline.core.manifest import CropRow, InputRow
from pipeline.core.tables import table_of
from pipeline.inputs.conventions import Match, Originals, match_fakes, people_of
from pipeline.inputs.listing import list_inputs
from pipeline.splits.groups import find_groups
from tests.support.data_roots import make_root, original, rtfs_names, swapped
from tests.support.manifest_rows import crop_row


def groups_of(rows: list[InputRow]) -> dict[str, str]:
    """Group of each video_id."""
    names = ("video_id", "identity_id", "source_identity_id", "original_video_id")
    crops = [crop_row(**{name: getattr(row, name) for name in names}) for row in rows]
    groups = find_groups(table_of(crops, CropRow))
    return {crop.video_id: groups[crop.identity_id] for crop in crops}


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("000", Match("000")),
        ("000_003", Match("000", "003")),
        ("000_extra", Match("000")),
        ("000-swapped", Match("000")),
        ("talk_2_anna", Match("talk_2")),
        ("talk_2", Match("talk_2")),
        ("TALK_fake", Match("talk")),
        ("inswapper_talk_2", Match("talk_2")),
        ("talk_3_b_c", Match("talk")),
        ("0000", None),
        ("anna000", None),
    ],
)
def test_names_that_begin_with_the_original(stem: str, expected: Match | None) -> None:
    names = [stem, "000_1", "talk_1", "003_1"]  # the others make the rule of the folder
    originals = Originals(["000", "003", "talk", "talk_2"])
    convention, matches = match_fakes(names, "inswapper", originals)
    assert convention.pattern == "<original> or <original>_<anything>"
    assert matches.get(stem) == expected


def test_source_and_target() -> None:
    names = ["face-c", "c-d_1", "a-b-c", "my face-d_1", "c-x"]
    convention, matches = match_fakes(names, "inswapper", Originals(["c", "d_1", "b-c"]))
    assert convention.pattern.startswith("<source>-<original>")
    assert matches == {
        "face-c": Match("c", source_photo="face"),
        "c-d_1": Match("d_1", source_video="c"),
        "a-b-c": Match("b-c", source_photo="a"),
        "my face-d_1": Match("d_1", source_photo="my face"),
    }


def test_celeb_df(tmp_path: Path) -> None:
    clips = [(person, clip) for person in range(4) for clip in range(2)]
    root = make_root(
        tmp_path / "data",
        *(original(f"id{person}_{clip:04d}") for person, clip in clips),
        *(swapped(f"id{person}_id{person ^ 1}_{clip:04d}") for person, clip in clips),
    )
    inputs = list_inputs(root)
    assert inputs.notes == [
        "original_videos: 8 videos, people by name: Celeb-DF, <id>_<clip>",
        "inswapper: original found for 8 of 8 fakes (Celeb-DF, <target id>_<source id>_<clip>)",
    ]
    row = next(row for row in inputs.videos if row.video_id == "inswapper/id2_id3_0001")
    assert row.original_video_id == "id2_0001"
    assert (row.identity_id, row.source_identity_id) == ("id2", "id3")
    assert set(groups_of(inputs.videos).values()) == {"id0", "id2"}


def test_rtfs_10k(tmp_path: Path) -> None:
    """10 people, 20 clips, 40 fakes: 10 groups, no fake outside the group of its original."""
    root = make_root(tmp_path / "data", *rtfs_names())
    inputs = list_inputs(root)
    assert inputs.warnings == []
    assert inputs.notes == [
        "original_videos: 20 videos, people by name: RTFS-10k, <YouTube id>_<start>_<end>",
        *(
            f"{kind}: original found for 20 of 20 fakes"
            " (RTFS-10k, <folder>_<original>_<n>-<n>_<gender>)"
            for kind in ("inswapper", "uniface")
        ),
    ]
    groups = groups_of(inputs.videos)
    assert len(set(groups.values())) == 10
    for row in inputs.videos:
        assert len(row.identity_id) == 11
        assert row.source_identity_id == ""
        if row.label == FAKE:
            kind, _, name = row.video_id.partition("/")
            assert name.startswith(f"{kind}_{row.original_video_id}_")
            assert groups[row.video_id] == groups[row.original_video_id]
            assert f"{name}".endswith(row.source_photo)
            assert row.source_photo.split("_")[0].count("-") == 1


def test_sub_folders(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        *map(original, ("set/anna/1", "set/anna/2", "set/berta/1")),
        *map(swapped, ("set/anna/1", "set/berta/1_x", "set/anna/masks/2_y")),
        "inswapper/inswapper/masks/set/anna/1.mkv",
        videos="path,identity_id\ninswapper/inswapper/set/anna/masks/2_y.mp4,carla",
    )
    inputs = list_inputs(root)
    rows = {row.video_id: row for row in inputs.videos}
    assert inputs.notes[0].endswith("one person per sub-folder")
    assert [rows[f"set/{name}"].identity_id for name in ("anna/1", "anna/2", "berta/1")] == [
        *("anna", "anna", "berta")
    ]
    assert rows["inswapper/set/anna/1"].original_video_id == "set/anna/1"
    assert rows["inswapper/set/anna/1"].mask_path.endswith("inswapper/masks/set/anna/1.mkv")
    assert rows["inswapper/set/berta/1_x"].identity_id == "berta"
    assert rows["inswapper/set/anna/masks/2_y"].original_video_id == ""


def test_originals_of_another_sub_folder_do_not_count() -> None:
    originals = Originals(["anna/1", "2", "berta/3"])
    assert originals.find("carla/1") == ""
    assert originals.find("carla/2") == "2"
    assert originals.find("3") == "berta/3"
    assert originals.find("ANNA/1") == "anna/1"


def test_few_names_of_a_data_set_are_no_rule() -> None:
    rule, people = people_of(["abcdefghijk_1_2", "b", "c"])
    assert rule == "one person per video"
    assert people["abcdefghijk_1_2"] == "abcdefghijk_1_2"
