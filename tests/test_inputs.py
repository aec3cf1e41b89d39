"""pipeline.inputs: the data root becomes two manifests, or a list of everything wrong with it."""

import hashlib
from pathlib import Path

import pytest

from pipeline.errors import ManifestError
from pipeline.input_videos import match_original
from pipeline.inputs import Inputs, list_inputs
from pipeline.manifest import InputRow, read_rows
from tests.imports import ROOT
from tests.stage_runs import run_stage

HEADER = "path,label,source"


def make_root(root: Path, *names: str, images: str = HEADER, identities: str = "") -> Path:
    """Files below the root, each with its own name as content, and its CSV files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    root.mkdir(parents=True, exist_ok=True)
    (root / "images.csv").write_text(images + "\n")
    if identities:
        (root / "inswapper" / "identities.csv").write_text(identities + "\n")
    return root


def original(stem: str) -> str:
    return f"inswapper/original_videos/{stem}.mp4"


def swapped(stem: str) -> str:
    return f"inswapper/inswapper/{stem}.mp4"


def by_id(inputs: Inputs) -> dict[str, InputRow]:
    return {row.video_id: row for row in [*inputs.videos, *inputs.images]}


def faults_of(root: Path) -> list[str]:
    with pytest.raises(ManifestError) as raised:
        list_inputs(root)
    return str(raised.value).replace(f"{root}/", "").splitlines()


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("000", ("000", "")),
        ("000_003", ("000", "003")),
        ("000_extra", ("000", "extra")),
        ("talk_2_anna", ("talk_2", "anna")),
        ("talk_2", ("talk_2", "")),
        ("0000", ("", "")),
        ("anna000", ("", "")),
        ("talk_3_b_c", ("talk", "3_b_c")),
    ],
)
def test_match_original(stem: str, expected: tuple[str, str]) -> None:
    assert match_original(stem, ["000", "003", "talk", "talk_2"]) == expected


def test_videos_by_folder(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        original("p2"),
        original("p1"),
        swapped("p1"),
        "inswapper/inswapper/masks/p1.mkv",
        "inswapper/uniface/p2_web.MOV",
        "inswapper/other_originals/p9.mp4",
    )
    inputs = list_inputs(root)
    assert inputs.warnings == []
    assert [row.video_id for row in inputs.videos] == ["p1", "p2", "inswapper/p1", "uniface/p2_web"]
    p1, _, fake, uniface = inputs.videos
    assert p1.model_dump() == {
        "video_id": "p1",
        "source": "videos",
        "label": 0,
        "fake_type": "real",
        "is_inswapper": 0,
        "identity_id": "p1",
        "source_identity_id": "",
        "original_video_id": "",
        "path": (root / original("p1")).as_posix(),
        "mask_path": "",
        "sha256": hashlib.sha256(original("p1").encode()).hexdigest(),
    }
    assert (fake.label, fake.fake_type, fake.is_inswapper) == (1, "inswapper", 1)
    assert (fake.identity_id, fake.original_video_id) == ("p1", "p1")
    assert fake.mask_path == (root / "inswapper/inswapper/masks/p1.mkv").as_posix()
    assert (uniface.label, uniface.fake_type, uniface.is_inswapper) == (1, "uniface", 0)
    assert uniface.original_video_id == "p2"


def test_identities(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        *map(original, ("000", "003", "010")),
        *map(swapped, ("000_003", "010_web", "003_000")),
        identities="video_id,identity_id,source_identity_id\n000,anna,\n003,berta,\n"
        "inswapper/010_web,,carla\ninswapper/003_000,dora,emma",
    )
    rows = by_id(list_inputs(root))
    assert (rows["000"].identity_id, rows["010"].identity_id) == ("anna", "010")
    people = {
        name: (row.identity_id, row.source_identity_id) for name, row in rows.items() if row.label
    }
    assert people == {
        "inswapper/000_003": ("anna", "berta"),
        "inswapper/010_web": ("010", "carla"),
        "inswapper/003_000": ("dora", "emma"),
    }


def test_images(tmp_path: Path) -> None:
    elsewhere = make_root(tmp_path / "far", "c.png") / "c.png"
    root = make_root(
        tmp_path / "data",
        "images/a.png",
        "images/b.jpg",
        "images/b_mask.png",
        "images/d.png",
        images="path,label,source,fake_type,original_video_id,mask_path,identity_id\n"
        "images/a.png,0,lfw,,,,anna\n"
        "images/b.jpg,1,lfw,inswapper,images/a,images/b_mask.png,\n"
        f"{elsewhere},0,web,real,,,\n"
        "./images/d.png,1,web,,images/a,,zoe",
    )
    rows = by_id(list_inputs(root))
    far = f"{elsewhere.parent.as_posix().lstrip('/')}/c"
    assert list(rows) == ["images/a", "images/b", far, "images/d"]
    fake = rows["images/b"]
    assert (fake.label, fake.fake_type, fake.is_inswapper) == (1, "inswapper", 1)
    assert (fake.identity_id, fake.original_video_id) == ("anna", "images/a")
    assert fake.mask_path == (root / "images/b_mask.png").as_posix()
    assert (rows[far].path, rows[far].identity_id) == (elsewhere.as_posix(), far)
    other = rows["images/d"]
    assert (other.fake_type, other.is_inswapper, other.identity_id) == ("other", 0, "zoe")


def test_frames_of_one_video_stay_together(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        *("images/f1.png", "images/f2.png", "images/f3.png"),
        images="path,label,source,video_id,identity_id\nimages/f1.png,0,tv,news,anna\n"
        "images/f2.png,0,tv,news,berta\nimages/f3.png,0,tv,talk,",
    )
    rows = by_id(list_inputs(root))
    assert list(rows) == ["news/f1", "news/f2", "talk"]
    assert [row.original_video_id for row in rows.values()] == ["news", "news", ""]
    assert [row.identity_id for row in rows.values()] == ["anna", "berta", "talk"]


def test_either_kind_may_be_missing(tmp_path: Path) -> None:
    assert len(list_inputs(make_root(tmp_path / "v", original("a"))).videos) == 1
    stills = make_root(tmp_path / "i", "a.png", images=f"{HEADER}\na.png,0,lfw")
    assert len(list_inputs(stills).images) == 1


def test_nothing_at_all_says_where_to_put_files(tmp_path: Path) -> None:
    root = make_root(tmp_path / "data")
    (fault,) = faults_of(root)
    assert "holds no input. Put real videos into inswapper/original_videos" in fault
    assert "images.csv" in fault


def test_without_image_list(tmp_path: Path) -> None:
    root = make_root(tmp_path / "data", original("a"))
    (root / "images.csv").unlink()
    (fault,) = faults_of(root)
    assert fault.startswith("images.csv: not found; create it, with the header line path,label")


def test_all_faults_at_once(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        original("a"),
        "inswapper/original_videos/a.mov",
        "images/b.png",
        "images/c.png",
        identities="video_id,identity_id\nnobody,x\na,anna\na,berta",
        images="path,label,source,fake_type,mask_path\nimages/b.png,0,lfw,inswapper,\n"
        "images/b.png,2,lfw,,\nimages/none.png,0,lfw,,\n./images/b.png,1,lfw,real,m.png\n"
        "images/c.png,1,lfw,deepfakes,",
    )
    assert faults_of(root) == [
        "inswapper/original_videos/a.mp4: a.mov has the same name but for the ending;"
        " rename one of them",
        "inswapper/identities.csv: row 2: video_id: 'nobody' is no video of inswapper;"
        " expected the name of an original, or inswapper/NAME or uniface/NAME",
        "inswapper/identities.csv: row 4: video_id: 'a' stands already above",
        "images.csv: row 3: label: Input should be 0 or 1 (got '2')",
        "images.csv: row 6: fake_type: Input should be '', 'real', 'inswapper', 'uniface',"
        " 'pseudo' or 'other' (got 'deepfakes')",
        "images.csv: row 2: fake_type: 'inswapper' contradicts label 0; expected real or nothing",
        f"images.csv: row 4: path: 'images/none.png' is no file of {root}",
        "images.csv: row 5: fake_type: 'real' contradicts label 1; expected what made the fake",
        f"images.csv: row 5: mask_path: 'm.png' is no file of {root}",
        "images.csv: row 5: path: 'images/b.png' stands already in row 2",
        "images.csv: row 5: video_id: 'images/b' stands already in row 2",
    ]


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("path,label", "images.csv: column 'source' is missing"),
        ("path,label,source,colour", "images.csv: column 'colour' is unknown"),
        ("path,label,source,source", "images.csv: column 'source' stands twice"),
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
        "images.csv: row 3: label: 1, but images.csv: row 2 holds the same file as 0"
    ]
    (root / "b.png").write_text("b.png")
    warnings = list_inputs(root).warnings
    assert any("row 4: the same file as " in warning for warning in warnings)


def test_fakes_without_original_are_a_warning(tmp_path: Path) -> None:
    root = make_root(tmp_path / "data", *map(swapped, [f"f{i}" for i in range(9)]))
    inputs = list_inputs(root)
    assert {(row.identity_id, row.original_video_id) for row in inputs.videos} == {
        (f"f{i}", "") for i in range(9)
    }
    assert inputs.warnings == [
        "fakes without an original: 9 (inswapper/f0, inswapper/f1, inswapper/f2, inswapper/f3,"
        " inswapper/f4 and 4 more)"
    ]


def test_an_original_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        "a.png",
        images="path,label,source,original_video_id\na.png,1,lfw,gone",
    )
    assert list_inputs(root).warnings == ["fakes whose original is not among the inputs: 1 (gone)"]


def test_stray_files_are_a_warning(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        original("a"),
        "inswapper/original_videos/notes.txt",
        "inswapper/original_videos/.hidden",
        "inswapper/inswapper/masks/zzz.mkv",
    )
    notes, mask = list_inputs(root).warnings
    assert notes.endswith(
        "notes.txt: left out; videos end with .mp4, .m4v, .mov, .mkv, .webm, .avi"
    )
    assert mask.endswith(
        "zzz.mkv: no video of that name in " + f"{root}/inswapper/inswapper; the mask is left out"
    )


def test_the_stage(tmp_path: Path) -> None:
    make_root(tmp_path / "in", original("a"), swapped("a"), "x.png", images=f"{HEADER}\nx.png,0,w")
    text = (ROOT / "params.yaml").read_text().replace("root: data/sample", "root: in")
    (tmp_path / "params.yaml").write_text(text)
    runs = []
    for _ in range(2):
        done = run_stage(tmp_path, "list_inputs")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            "list_inputs: 2 videos, 1 real, 1 fake",
            "list_inputs: 1 images, 1 real, 0 fake",
        ]
        manifests = sorted((tmp_path / "data/manifests").iterdir())
        runs.append([path.read_bytes() for path in manifests])
    assert runs[0] == runs[1]
    rows = read_rows(tmp_path / "data/manifests/videos.csv", InputRow)
    assert rows[0].path == "in/inswapper/original_videos/a.mp4"
