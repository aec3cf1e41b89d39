import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.manifest import CropRow, FrameRow, InputRow, SkipRow, read_rows, write_rows
from pipeline.crops.cropping import CropResult, reasons, require_few_skipped, stills_as_frames
from pipeline.media.images import read_image
from pipeline.runtime import cli
from pipeline.runtime.errors import DecodeError, ManifestError, ParamsError, SkipLimitError
from stages import crop_faces
from tests.support.imports import ROOT
from tests.support.synthetic import draw_face, draw_scenery, frame_row, input_row, write_rgb
from tests.support.tiny_graphs import save_graph
from tests.support.unread_files import HEIC
from tests.support.written_frames import (
    PREPROCESS,
    box_of,
    bytes_below,
    crop,
    fakes,
    put,
    put_fake,
    put_real,
    stored,
    with_mask,
)

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def test_a_real_face_gives_one_row_per_scale_and_one_context() -> None:
    drawn = draw_face(0)
    result = crop([put_real(drawn)])
    assert [row.crop_scale for row in result.rows] == [1.1, 1.5, 2.0]
    assert {row.image_path for row in result.rows} == {"data/frames/p0/4.png"}
    for row in result.rows:
        assert (row.label, row.boundary_label, row.mask_path) == (0, 0, "")
        assert (row.detector, row.face_id) == ("insightface", "p0/000_000004_0")
        assert row.face_px == max(row.box_x1 - row.box_x0, row.box_y1 - row.box_y0)
        assert (row.kp0_x, row.kp0_y) == pytest.approx(tuple(drawn.keypoints[0]), abs=9)
    assert result.skipped == []
    assert list(bytes_below(Path("data/crops"))) == ["p0/000_000004_0_context.webp"]


def test_the_context_contains_every_crop_at_the_frames_resolution() -> None:
    drawn = draw_face(0, height=400, width=400)
    for row in crop([put_real(drawn)]).rows:
        context = stored(row.context_path)
        assert row.context_scale == 1
        x, y = int(row.context_x), int(row.context_y)
        region = drawn.rgb[y : y + context.shape[0], x : x + context.shape[1]]
        np.testing.assert_array_equal(context, region)
        moved = box_of(row) - np.tile(np.float32([x, y]), 2)
        recut = PREPROCESS.crop(context, moved, row.crop_scale)
        expected = PREPROCESS.crop(stored(row.image_path), box_of(row), row.crop_scale)
        np.testing.assert_array_equal(recut, expected)


def test_a_large_context_is_shrunk_together_with_its_mask() -> None:
    drawn = draw_face(0, height=400, width=400, face_px=200)
    frames = [put_real(drawn), put_fake(drawn, mask=True)]
    row = fakes(crop(frames, context_max_px=256))[0]
    context, mask = stored(row.context_path), stored(row.mask_path)
    assert row.context_scale == pytest.approx(256 / 400, abs=0.05)
    assert max(context.shape) == 256
    assert mask.shape == context.shape
    assert mask.max() > 200


def test_a_context_is_clipped_to_the_image() -> None:
    drawn = draw_face(0, height=200, width=320, centre=(60, 100))
    row = crop([put_real(drawn)]).rows[0]
    assert (row.context_x, row.context_y) == (0, 0)
    assert stored(row.context_path).shape[0] == 200


def test_rows_read_back_give_the_same_rows_and_squares(tmp_path: Path) -> None:
    result = crop([put_real(), put_fake(mask=True)])
    write_rows(tmp_path / "crops.csv", result.rows, CropRow)
    again = read_rows(tmp_path / "crops.csv", CropRow)
    assert again == result.rows
    squares = [
        [PREPROCESS.square(box_of(row), 1.5) for row in rows] for rows in (again, result.rows)
    ]
    assert squares[0] == squares[1]


def test_every_skipped_frame_has_a_row_with_its_reason() -> None:
    broken = put_real(video_id="broken")
    Path(broken.frame_path).write_bytes(b"no image")
    phone = put_real(video_id="phone")
    Path(phone.frame_path).write_bytes(HEIC)
    unmasked = put_fake(video_id="unmasked").model_copy(update={"mask_path": "nowhere.png"})
    misfit = with_mask(put_fake(video_id="misfit"), np.zeros((10, 20), np.uint8))
    frames = [
        put_real(),
        put(draw_scenery(5), video_id="empty"),
        put_real(draw_face(0, face_px=65), video_id="small"),
        broken,
        phone,
        unmasked,
        misfit,
    ]
    skipped = crop(frames, min_face_px=80).skipped
    assert [(row.video_id, row.reason) for row in skipped] == [
        ("empty", "no_face"),
        ("small", "face_too_small"),
        ("broken", "decode_error"),
        ("phone", "decode_error"),
        ("unmasked", "decode_error"),
        ("misfit", "decode_error"),
    ]
    assert "min_face_px 80" in skipped[1].detail
    assert skipped[3].detail.startswith(
        "data/frames/phone/4.png: HEIC images are not read; convert"
    )
    assert "mask of (10, 20), expected (240, 320)" in skipped[5].detail
    assert {row.stage for row in skipped} == {"crop_faces"}


LISTED_IN = Path("data/manifests/skipped_faces.csv")


def test_too_many_skipped_frames_stop_the_stage() -> None:
    def skip(path: str, reason: Any, detail: str = "") -> SkipRow:
        return SkipRow(path=path, video_id="v", stage="crop_faces", reason=reason, detail=detail)

    skipped = [
        skip("a.png", "face_too_small", "largest 40 px, min_face_px 60"),
        skip("b.png", "decode_error"),
        skip("c.png", "face_too_small"),
    ]
    result = CropResult([], skipped, crop([put_real()]).thresholds, frames=12)
    require_few_skipped(result, 0.25, LISTED_IN)
    with pytest.raises(SkipLimitError) as raised:
        require_few_skipped(result, 0.2, LISTED_IN)
    assert str(raised.value) == (
        "crop_faces: 3 of 12 frames were skipped (face_too_small 2, decode_error 1);"
        " data/manifests/skipped_faces.csv lists them, the first: a.png (face_too_small: largest"
        " 40 px, min_face_px 60); above crop_faces.max_skip_frac 0.2"
    )
    assert reasons(CropResult([], [], result.thresholds, 1)) == "none"


@pytest.mark.parametrize(
    ("scenes", "expected"),
    [
        (
            2,
            "2 of 3 frames were skipped (no_face 2); data/manifests/skipped_faces.csv lists them,"
            " the first: data/frames/s0/4.png (no_face)",
        ),
        (0, "The manifests list no real frame"),
    ],
)
def test_without_a_real_face_the_stage_lists_the_skipped_frames_and_fails(
    scenes: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("INSWAPPER_WORKERS", "1")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    frames = [put_fake()] + [put(draw_scenery(n), video_id=f"s{n}") for n in range(scenes)]
    write_rows(Path("data/manifests/raw.csv"), frames, FrameRow)
    write_rows(Path("data/manifests/images.csv"), [], InputRow)
    with pytest.raises(SystemExit) as raised:
        cli.run_stage(crop_faces.main)
    assert raised.value.code == 2
    assert capsys.readouterr().err == (
        "crop_faces: no face was found in a real frame; the quality thresholds need real faces. "
        f"{expected}\n"
    )
    listed = read_rows(LISTED_IN, SkipRow)
    assert [(row.path, row.reason) for row in listed] == [
        (f"data/frames/s{n}/4.png", "no_face") for n in range(scenes)
    ]
    assert not Path("data/manifests/crops.csv").exists()


def test_faults_of_the_input_are_reported() -> None:
    real = put_real()
    with pytest.raises(ManifestError, match="'p0', frame 4: 2 rows"):
        crop([real, real])
    phone = put_real(video_id="phone")
    Path(phone.frame_path).write_bytes(HEIC)
    (skipped,) = crop([real, phone]).skipped
    assert (skipped.reason, "HEIC images are not" in skipped.detail) == ("decode_error", True)
    with pytest.raises(ParamsError, match=r"context_scale: 1\.8 is below.* 2;"):
        crop([real], context_scale=1.8)


def test_a_video_id_cannot_escape_the_folder() -> None:
    drawn = draw_face(0)
    write_rgb(Path("frame.png"), drawn.rgb)
    names = ["../../p 0", "..", "p_0", "p 0"]
    frames = [frame_row(video_id=name, frame_path="frame.png") for name in names]
    rows = crop(frames).rows
    paths = {row.context_path for row in rows}
    assert len(paths) == 4
    assert all(".." not in path and path.startswith("data/crops/") for path in paths)
    assert [row.video_id for row in rows[::3]] == names


LONG_NAMES = [
    # Names with a space get a digest, for which 247 bytes leave no room.
    *("v " + size * "x" for size in (244, 245, 253, 900)),
    *("inswapper/" + size * "x" for size in (255, 256)),
    *("inswapper/" + size * "ä" for size in (127, 128)),
    100 * "deep folder/" + "v",
]


def test_long_names_give_files_of_their_own() -> None:
    write_rgb(Path("frame.png"), draw_face(0).rgb)
    frames = [frame_row(video_id=name, frame_path="frame.png") for name in LONG_NAMES]
    result = crop(frames)
    assert [row.video_id for row in result.rows[::3]] == LONG_NAMES
    paths = {row.context_path for row in result.rows}
    assert len(paths) == len(LONG_NAMES)
    assert all(Path(path).is_file() for path in paths)
    assert result.rows[0].context_path.startswith(f"data/crops/v_{244 * 'x'}-")
    assert result.rows[12].context_path == f"data/crops/{LONG_NAMES[4]}/000_000004_0_context.webp"


@pytest.mark.slow
def test_several_processes_give_the_same_bytes_as_one() -> None:
    frames = [put_real(draw_face(n), video_id=f"p{n}") for n in range(3)]
    frames += [put_fake(draw_face(0), mask=True), put(draw_scenery(5), video_id="empty")]
    alone = crop(frames, workers=1)
    files = bytes_below(Path("data/crops"))
    shutil.rmtree("data/crops")
    together = crop(frames, workers=2)
    assert (together.rows, together.skipped) == (alone.rows, alone.skipped)
    assert bytes_below(Path("data/crops")) == files


def test_a_detector_without_keypoints_leaves_their_columns_empty() -> None:
    answer = np.array([[[320], [320], [200], [240], [0.9]]], np.float32)
    save_graph(Path("yolo.onnx"), [1, 3, 640, 640], answer)
    row = crop([put_real()], detector="yolo_face", model_file="yolo.onnx").rows[0]
    assert row.detector == "yolo_face"
    assert {value for name, value in row if name.startswith("kp")} == {None}


def test_a_still_is_treated_as_a_video_of_one_frame() -> None:
    still = input_row(video_id="images/p1", path="data/own/images/p1.png", mask_path="m.png")
    (frame,) = stills_as_frames([still])
    assert (frame.frame_path, frame.mask_path) == ("data/own/images/p1.png", "m.png")
    assert (frame.scene, frame.frame_index, frame.timestamp_s) == (0, 0, 0)
    assert (frame.video_id, frame.identity_id) == ("images/p1", "p0")


def test_images_are_rotated_upright_and_converted_to_rgb(tmp_path: Path) -> None:
    upright = draw_face(0).rgb
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.fromarray(np.rot90(upright))
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), upright)
    Image.fromarray(upright[:, :, 0]).save(tmp_path / "grey.png")
    grey = read_image(tmp_path / "grey.png")
    np.testing.assert_array_equal(grey, np.repeat(upright[:, :, :1], 3, axis=2))


def test_unreadable_images_are_decode_errors(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "text.jpg").write_text("not an image")
    whole = tmp_path / "whole.png"
    Image.fromarray(draw_face(0).rgb).save(whole)
    (tmp_path / "half.png").write_bytes(whole.read_bytes()[:2000])
    for name, message in {
        "deep.png": "expected 8 bits",
        "text.jpg": "not a readable image",
        "half.png": "not a readable image",
        "absent.png": "not a readable image",
    }.items():
        with pytest.raises(DecodeError, match=f"{name}.*{message}"):
            read_image(tmp_path / name)


def test_the_stage_writes_the_same_bytes_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INSWAPPER_WORKERS", "1")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    drawn = draw_face(0)
    manifests = Path("data/manifests")
    write_rows(manifests / "raw.csv", [put_real(drawn), put_fake(drawn, mask=True)], FrameRow)
    write_rgb(Path("still.png"), draw_face(1).rgb)
    still = input_row(video_id="still", path="still.png")
    write_rows(manifests / "images.csv", [still], type(still))
    crop_faces.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "crop_faces: 3 frames, 0 reused, 3 faces, 9 crops",
        "crop_faces: skipped 0 frames: none",
    ]
    first = bytes_below(Path("data"))
    Path("data/crops/left_over.webp").touch()
    crop_faces.main()
    assert "3 frames, 3 reused" in capsys.readouterr().out
    assert bytes_below(Path("data")) == first
    assert {"manifests/crops.csv", "manifests/skipped_faces.csv", "manifests/quality.json"} <= set(
        first
    )


def test_the_stage_counts_the_fakes_that_do_not_fit_their_originals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the crops come from the cache."""
    monkeypatch.setenv("INSWAPPER_WORKERS", "1")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    frames = [put_real(), put_fake()]
    for name in ("a", "b"):
        frames.append(put_fake(video_id=f"inswapper/p0_{name}"))
        mirrored = np.ascontiguousarray(stored(frames[-1].frame_path)[:, ::-1])
        write_rgb(Path(frames[-1].frame_path), mirrored)
    write_rows(Path("data/manifests/raw.csv"), frames, FrameRow)
    write_rows(Path("data/manifests/images.csv"), [], InputRow)
    for _ in range(2):
        crop_faces.main()
        assert capsys.readouterr().out.splitlines()[1] == (
            "crop_faces: 2 frames of fakes are not paired, because their original shows something"
            " else outside the face; first: inswapper/p0_a, frame 4"
        )
        rows = read_rows(Path("data/manifests/crops.csv"), CropRow)
        assert {row.video_id: row.paired for row in rows} == {
            "p0": -1,
            "inswapper/p0": 1,
            "inswapper/p0_a": 0,
            "inswapper/p0_b": 0,
        }


def test_frames_of_a_video_that_kills_its_workers_are_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray gives up such a video; this test makes it do so after the first files are written."""

    @contextmanager
    def giving_up(_: int, __: str, lost: Any) -> Any:
        def run(function: Any, tasks: Any) -> Any:
            done = [function(task) for task in tasks]
            return [done[0], lost(tasks[1])]

        yield run

    monkeypatch.setattr("pipeline.crops.cropping.worker_map", giving_up)
    result = crop([put_real(), put_real(video_id="p1"), put_real(video_id="p1", frame_index=5)])
    assert {row.video_id for row in result.rows} == {"p0"}
    skipped = [(row.path, row.video_id, row.reason, row.stage) for row in result.skipped]
    assert skipped == [
        (f"data/frames/p1/{index}.png", "p1", "worker_died", "crop_faces") for index in (4, 5)
    ]
    assert not list(Path("data/crops/p1").iterdir())


def test_a_context_as_large_as_the_largest_crop_holds_it() -> None:
    assert [row.crop_scale for row in crop([put_real()], context_scale=2.0).rows] == [1.1, 1.5, 2.0]


def test_rows_of_the_same_frame_are_named_in_order() -> None:
    twice = [put_real(video_id=name) for name in ("p2", "p1")] * 2
    with pytest.raises(ManifestError) as raised:
        crop(twice)
    assert [line.split("'")[1] for line in str(raised.value).splitlines()] == ["p1", "p2"]
