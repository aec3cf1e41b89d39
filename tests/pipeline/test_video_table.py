"""videos.csv overrules what folders and names tell; identities.csv and spellings of names."""

from pathlib import Path

import pytest

from pipeline.core.manifest import InputRow, TagRow
from pipeline.inputs.listing import list_inputs
from pipeline.runtime.errors import ManifestError
from tests.support.data_roots import HEADER, make_root, original, swapped

SWAP = "inswapper/inswapper"


def rows_of(root: Path) -> dict[str, InputRow]:
    inputs = list_inputs(root)
    return {row.video_id: row for row in [*inputs.videos, *inputs.images]}


def faults_of(root: Path) -> str:
    with pytest.raises(ManifestError) as raised:
        list_inputs(root)
    return str(raised.value).replace(f"{root}/", "")


def test_every_column(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        *map(original, ("a", "b", "c")),
        *map(swapped, ("a_b", "x", "y")),
        "inswapper/simswap/z.mp4",
        videos="path,label,fake_type,video_id,identity_id,original_video_id,source_identity_id,"
        "source,tag_light,tag_place\n"
        "inswapper/original_videos/a.mp4,,,A,anna,,,phone,dark,home\n"
        f"{SWAP}/x.mp4,1,uniface,,,b,zoe,,bright,\n"
        f"{SWAP}/y.mp4,0,,,yves,,,,,\n"
        "inswapper/simswap/z.mp4,1,,,,c,,web,,",
    )
    rows = rows_of(root)
    assert list(rows) == ["A", "b", "c", "inswapper/a_b", "inswapper/x", "inswapper/y", "simswap/z"]
    assert (rows["A"].identity_id, rows["A"].source) == ("anna", "phone")
    named = rows["inswapper/a_b"]
    assert (named.identity_id, named.original_video_id) == ("anna", "A")
    assert (named.source_identity_id, named.source) == ("b", "phone")
    x = rows["inswapper/x"]
    assert (x.fake_type, x.is_inswapper, x.identity_id) == ("uniface", 0, "b")
    assert x.source_identity_id == "zoe"
    y = rows["inswapper/y"]
    assert (y.label, y.fake_type, y.is_inswapper, y.identity_id) == (0, "real", 0, "yves")
    z = rows["simswap/z"]
    assert (z.label, z.fake_type, z.identity_id, z.source) == (1, "other", "c", "web")
    assert list_inputs(root).tags == [
        TagRow(video_id="A", tag="light", value="dark"),
        TagRow(video_id="A", tag="place", value="home"),
        TagRow(video_id="inswapper/x", tag="light", value="bright"),
    ]


def test_a_table_beside_the_images_is_read_with_a_warning(tmp_path: Path) -> None:
    root = make_root(tmp_path / "data", original("a"))
    (root / "videos.csv").write_text("path,source\ninswapper/original_videos/a.mp4,phone\n")
    assert rows_of(root)["a"].source == "phone"
    assert list_inputs(root).warnings == [
        f"{root}/videos.csv: `dvc repro` does not notice when this file changes; move it to"
        f" {root}/inswapper/videos.csv"
    ]
    (root / "inswapper/videos.csv").write_text("path\n")
    assert "exists as well; keep one of them" in faults_of(root)


def test_all_faults_of_the_table(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        *map(original, "abc"),
        "elsewhere/d.mp4",
        "inswapper/notes.txt",
        videos="path,label,fake_type,video_id\n"
        "inswapper/original_videos/a.mp4,1,real,\n"
        "elsewhere/d.mp4,,,\n"
        "inswapper/original_videos/none.mp4,,,\n"
        "inswapper/original_videos/a.mp4,,,\n"
        "inswapper/notes.txt,,,\n"
        "inswapper/original_videos/b.mp4,2,,\n"
        "inswapper/original_videos/b.mp4,,,c",
    )
    assert faults_of(root).splitlines() == [
        "inswapper/videos.csv: row 7: label: Input should be 0 or 1 (got '2')",
        "inswapper/videos.csv: row 2: fake_type: 'real' contradicts label 1; expected the tool"
        " that made the fake",
        "inswapper/videos.csv: row 3: path: 'elsewhere/d.mp4' is not in inswapper, the folder whose"
        " videos DVC tracks; move it there",
        "inswapper/videos.csv: row 4: path: 'inswapper/original_videos/none.mp4' is not a file in"
        f" {root}",
        "inswapper/videos.csv: row 5: path: 'inswapper/original_videos/a.mp4' duplicates row 2",
        "inswapper/videos.csv: row 6: path: 'inswapper/notes.txt' is no video; videos end with"
        " .mp4, .m4v, .mov, .mkv, .webm, .avi",
        "inswapper/videos.csv: row 8: video_id: 'c' is that of another video",
        "inswapper/original_videos/c.mp4: video_id: 'c' is that of another video",
    ]


def test_blanks_and_case_never_split_a_person_or_a_source(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        *map(original, "abcde"),
        *("1.png", "2.png"),
        identities="video_id,identity_id\na,anna\nb, anna\nc,Anna\nd,anna \ne,Be  rta",
        images="path,label,source,identity_id\n1.png,0, cam,ANNA\n2.png,0,Cam,be rta",
    )
    inputs = list_inputs(root)
    assert [row.identity_id for row in inputs.videos] == [*["anna"] * 4, "Be  rta"]
    assert [row.identity_id for row in inputs.images] == ["anna", "Be  rta"]
    assert [row.source for row in inputs.images] == ["cam", "cam"]
    person, other, source = inputs.warnings
    assert person.startswith("person 'anna' is spelled in 3 ways, which count as one: 'anna' (")
    assert f"'ANNA' ({root}/images.csv: row 2)" in person
    assert other.startswith("person 'Be  rta' is spelled in 2 ways")
    assert source.startswith("source 'cam' is spelled in 2 ways")


def test_identities_of_images_and_inheritance(tmp_path: Path) -> None:
    root = make_root(
        tmp_path / "data",
        original("a"),
        *("1.png", "2.png"),
        identities="video_id,identity_id\na,anna\n1,berta",
        images="path,label,source,original_video_id\n1.png,0,web,\n2.png,1,web,1",
    )
    assert [row.identity_id for row in rows_of(root).values()] == ["anna", "berta", "berta"]


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n1.png,0,web\n",
        "path;label;source\n1.png;0;web\n",
        "path\tlabel\tsource\n1.png\t0\tweb\n",
        "\ufeffPath,LABEL, Source \r\n1.png ,0, web\r\n\r\n,,\r\n",
        "path,label,source,,\n1.png,0,web,,\n,,,,\n",
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, text: str) -> None:
    root = make_root(tmp_path / "data", "1.png")
    (root / "images.csv").write_bytes(text.encode())
    (row,) = list_inputs(root).images
    assert (row.path, row.label, row.source) == ((root / "1.png").as_posix(), 0, "web")


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    root = make_root(tmp_path / "data", "1.png")
    (root / "images.csv").write_bytes("path,label,source\n1.png,0,Mühle\n".encode("cp1252"))
    assert faults_of(root) == (
        "images.csv: expected UTF-8 text (invalid start byte); a spreadsheet saves it as `CSV"
        " UTF-8`"
    )
