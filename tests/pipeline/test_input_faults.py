"""pipeline.inputs.listing: all faults of a data root are reported at once."""

from pathlib import Path

import pytest

from pipeline.inputs.listing import list_inputs
from pipeline.runtime.errors import ManifestError
from tests.support.data_roots import HEADER, make_root, original, swapped


def faults_of(root: Path) -> list[str]:
    with pytest.raises(ManifestError) as raised:
        list_inputs(root)
    return str(raised.value).replace(f"{root}/", "").splitlines()


def test_an_empty_root_reports_where_to_put_files(tmp_path: Path) -> None:
    root = make_root(tmp_path / "data")
    (fault,) = faults_of(root)
    assert "contains no input. Put real videos into inswapper/original_videos" in fault
    assert "images.csv" in fault


def test_without_image_list(tmp_path: Path) -> None:
    root = make_root(tmp_path / "data", original("a"))
    (root / "images.csv").unlink()
    (fault,) = faults_of(root)
    assert fault.startswith("images.csv: not found; create it, with only the header line path,")


def test_all_faults_at_once(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        original("a"),
        "inswapper/original_videos/a.mov",
        "images/b.png",
        "images/c.png",
        identities="video_id,identity_id\nunknown,x\na,anna\na,berta",
        images="path,label,source,fake_type,mask_path\nimages/b.png,0,lfw,inswapper,\n"
        "images/b.png,2,lfw,,\nimages/none.png,0,lfw,,\n./images/b.png,1,lfw,real,m.png\n"
        "images/c.png,1,lfw,deepfakes,",
    )
    assert faults_of(root) == [
        "inswapper/original_videos/a.mp4: a.mov has the same name except for the suffix;"
        " rename one of them",
        "images.csv: row 3: label: Input should be 0 or 1 (got '2')",
        "images.csv: row 6: fake_type: Input should be '', 'real', 'inswapper', 'uniface',"
        " 'pseudo' or 'other' (got 'deepfakes')",
        "images.csv: row 2: fake_type: 'inswapper' contradicts label 0; expected real or an"
        " empty cell",
        f"images.csv: row 4: path: 'images/none.png' is not a file in {root}",
        "images.csv: row 5: fake_type: 'real' contradicts label 1; expected the tool that"
        " made the fake",
        f"images.csv: row 5: mask_path: 'm.png' is not a file in {root}",
        "images.csv: row 5: path: 'images/b.png' duplicates row 2",
        "images.csv: row 5: video_id: 'images/b' duplicates row 2",
        "inswapper/identities.csv: row 2: video_id: 'unknown' is not among the inputs; expected the"
        " name of an original, inswapper/NAME or uniface/NAME, or the video_id of an image",
        "inswapper/identities.csv: row 4: video_id: 'a' duplicates an earlier row",
    ]


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("path,label", "images.csv: column 'source' is missing"),
        ("path,label,source,colour", "images.csv: column 'colour' is unknown"),
        ("path,label,source,source", "images.csv: duplicate column 'source'"),
        ("", "images.csv: empty file; expected a header line"),
    ],
)
def test_wrong_columns(tmp_path: Path, header: str, fault: str) -> None:
    root = make_root(tmp_path / "data", original("a"))
    (root / "images.csv").write_text(header)
    assert faults_of(root) == [fault]


def test_wrong_columns_of_identities(tmp_path: Path) -> None:
    root = make_root(tmp_path / "data", original("a"), identities="video,identity_id\na,b")
    assert faults_of(root) == [
        "inswapper/identities.csv: column 'video_id' is missing",
        "inswapper/identities.csv: column 'video' is unknown",
    ]


@pytest.mark.parametrize("name", ["../up", "/root", "a//b", "a/./b", "c:\\x", "bell\x07"])
def test_names_that_cannot_be_folders(tmp_path: Path, name: str) -> None:
    root = make_root(
        tmp_path / "data", "a.png", images=f"path,label,source,video_id\na.png,0,lfw,{name}"
    )
    assert all(fault.startswith("images.csv: row 2: ") for fault in faults_of(root))


def test_the_same_file_with_two_labels(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        *("a.png", "b.png", "c.png"),
        images=f"{HEADER}\na.png,0,lfw\nb.png,1,lfw\nc.png,0,lfw",
    )
    for name in ("b.png", "c.png"):
        (root / name).write_text("a.png")
    assert faults_of(root) == [
        "images.csv: row 3: label: 1, but images.csv: row 2 has the same content with label 0"
    ]
    (root / "b.png").write_text("b.png")
    warnings = list_inputs(root).warnings
    assert any("row 4: same content as " in warning for warning in warnings)


def test_more_than_a_tenth_of_the_fakes_without_an_original(tmp_path: Path) -> None:
    names = [original("a"), *map(swapped, [f"a_{i}" for i in range(8)]), swapped("b"), swapped("c")]
    root = make_root(tmp_path / "data", *names)
    (fault,) = faults_of(root)
    assert fault.startswith(
        "inswapper: 2 of 10 fakes have no original in original_videos (inswapper/b, inswapper/c)."
    ) or fault.startswith(f"{root}/inswapper: 2 of 10 fakes have no original")
    assert "Names that are understood: <original>" in fault
    assert "inswapper/videos.csv with the columns path,original_video_id; where the" in fault
    table = root / "inswapper/videos.csv"
    table.write_text("path,identity_id\ninswapper/inswapper/c.mp4,carla\n")
    inputs = list_inputs(root)
    assert inputs.warnings == ["fakes without an original: 2 (inswapper/b, inswapper/c)"]
    assert [row.identity_id for row in inputs.videos[-2:]] == ["b", "carla"]


def test_a_missing_original_is_a_warning(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        "a.png",
        images="path,label,source,original_video_id\na.png,1,lfw,gone",
    )
    assert list_inputs(root).warnings == [
        "fakes whose original is not among the inputs: 1 (gone)",
        "no INSwapper fakes (other 1): the INSwapper head learns only from swaps made in training"
        " (pseudo_swap), and inswapper_recall is not defined",
    ]


def test_without_inswapper_fakes_one_line_says_what_follows(tmp_path: Path) -> None:
    names = [original("a"), swapped("a", "uniface"), swapped("a_b", "uniface")]
    root = make_root(tmp_path / "data", *names)
    assert list_inputs(root).warnings == [
        "no INSwapper fakes (uniface 2): the INSwapper head learns only from swaps made in training"
        " (pseudo_swap), and inswapper_recall is not defined"
    ]
    (root / swapped("a")).parent.mkdir(exist_ok=True)
    (root / swapped("a")).write_text("a")
    assert list_inputs(root).warnings == []
    assert list_inputs(make_root(tmp_path / "real", original("a"))).warnings == []


def test_stray_files_are_a_warning(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        original("a"),
        "inswapper/original_videos/notes.txt",
        "inswapper/original_videos/.hidden",
        "inswapper/inswapper/masks/zzz.mkv",
    )
    notes, mask = list_inputs(root).warnings
    assert notes.endswith("notes.txt: ignored; videos end with .mp4, .m4v, .mov, .mkv, .webm, .avi")
    assert mask.endswith(
        "zzz.mkv: no video of that name in " + f"{root}/inswapper/inswapper; the mask is ignored"
    )
