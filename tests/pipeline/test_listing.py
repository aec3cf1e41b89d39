"""pipeline.inputs.listing: listing the data root in two manifests."""

import hashlib
from pathlib import Path

from pipeline.core.manifest import InputRow, read_rows
from pipeline.inputs.listing import Inputs, list_inputs
from tests.support.data_roots import HEADER, make_root, original, swapped
from tests.support.imports import ROOT
from tests.support.stage_runs import run_stage


def by_id(inputs: Inputs) -> dict[str, InputRow]:
    return {row.video_id: row for row in [*inputs.videos, *inputs.images]}


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
    assert inputs.tags == []
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
        "source_photo": "",
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


def test_the_stage(tmp_path: Path) -> None:
    make_root(tmp_path / "in", original("a"), swapped("a"), "x.png", images=f"{HEADER}\nx.png,0,w")
    text = (ROOT / "params.yaml").read_text().replace("root: data/sample", "root: in")
    (tmp_path / "params.yaml").write_text(text)
    runs = []
    for _ in range(2):
        done = run_stage(tmp_path, "list_inputs")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            "list_inputs: original_videos: 1 videos, people by name: one person per video",
            "list_inputs: inswapper: original found for 1 of 1 fakes"
            " (<original> or <original>_<anything>)",
            "list_inputs: 2 videos, 1 real, 1 fake, 1 people",
            "list_inputs: 1 images, 1 real, 0 fake, 1 people",
        ]
        manifests = sorted((tmp_path / "data/manifests").iterdir())
        runs.append([path.read_bytes() for path in manifests])
    assert runs[0] == runs[1]
    rows = read_rows(tmp_path / "data/manifests/videos.csv", InputRow)
    assert rows[0].path == "in/inswapper/original_videos/a.mp4"
