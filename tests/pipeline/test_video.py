"""pipeline.media.video: exact frames, reproducible files, rejection of everything else."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.media.video import probe, read_frames
from pipeline.media.video_writer import write_mask_video, write_video
from pipeline.runtime.errors import DecodeError, TooLargeError
from tests.support.anamorphic import write_anamorphic
from tests.support.synthetic import draw_clip, draw_face, draw_scenery, write_clip

COLOURS = ((0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 30), (30, 200, 30), (30, 30, 200))


def colour_bars() -> np.ndarray:
    """(64, 384, 3): six solid colours, 64 px wide each."""
    return np.repeat(np.repeat(np.array([COLOURS], np.uint8), 64, axis=0), 64, axis=1)


def corner_image() -> np.ndarray:
    """(64, 96, 3): red and green above, blue and white below."""
    rgb = np.zeros((64, 96, 3), np.uint8)
    rgb[:32, :48] = (255, 0, 0)
    rgb[:32, 48:] = (0, 255, 0)
    rgb[32:, :48] = (0, 0, 255)
    rgb[32:, 48:] = 255
    return rgb


def corner_names(rgb: np.ndarray) -> str:
    names = {(True, False, False): "R", (False, True, False): "G", (False, False, True): "B"}
    height, width = rgb.shape[:2]
    points = [(y * height // 4, x * width // 4) for y in (1, 3) for x in (1, 3)]
    return "".join(names.get(tuple(bool(v > 128) for v in rgb[point]), "W") for point in points)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 frames of 208x160 at 25 frames per second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, draw_clip(1, frames_per_scene=24))
    return path


def test_probe(clip: Path) -> None:
    info = probe(clip)
    assert (info.width_px, info.height_px, info.fps) == (208, 160, 25.0)
    assert (info.duration_s, info.frame_count, info.codec) == (1.92, 48, "h264")


def test_read_all_frames_in_order_with_timestamps(clip: Path) -> None:
    frames = list(read_frames(clip))
    assert [index for index, _, _ in frames] == list(range(48))
    assert [t for _, t, _ in frames] == pytest.approx([i / 25 for i in range(48)])
    for face, (_, _, rgb) in zip(draw_clip(1, frames_per_scene=24), frames, strict=True):
        assert np.abs(rgb.astype(int) - face.rgb).mean() < 4


def test_read_some_frames(clip: Path) -> None:
    everything = {index: rgb for index, _, rgb in read_frames(clip)}
    some = list(read_frames(clip, [40, 3, 3, 17, 99]))
    assert [index for index, _, _ in some] == [3, 17, 40]
    assert all(np.array_equal(rgb, everything[index]) for index, _, rgb in some)
    assert list(read_frames(clip, [])) == []


def test_threads_do_not_change_the_frames(clip: Path) -> None:
    one = [rgb for _, _, rgb in read_frames(clip, range(0, 48, 9))]
    two = [rgb for _, _, rgb in read_frames(clip, range(0, 48, 9), threads=2)]
    assert np.array_equal(one, two)


def test_shrunk_frames_keep_the_aspect(clip: Path) -> None:
    _, _, small = next(read_frames(clip, max_side_px=52))
    _, _, whole = next(read_frames(clip))
    assert small.shape == (40, 52, 3)
    blocks = whole.reshape(40, 4, 52, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - blocks).mean() < 2
    assert next(read_frames(clip, max_side_px=1000))[2].shape == (160, 208, 3)


def test_colours_survive(tmp_path: Path) -> None:
    write_video(tmp_path / "bars.mp4", [colour_bars()] * 3, 25, crf=0)
    for _, _, rgb in read_frames(tmp_path / "bars.mp4"):
        assert np.abs(rgb[32, 32::64].astype(int) - np.array(COLOURS)).max() <= 2
    with av.open(str(tmp_path / "bars.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.format.name, frame.color_range, frame.colorspace) == ("yuv420p", 1, 1)


def test_full_range_is_recognised(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "full.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 384, 64, "yuvj420p"
        stream.codec_context.color_range = 2
        frame = av.VideoFrame.from_ndarray(colour_bars(), format="rgb24")
        full = frame.reformat(format="yuvj420p", dst_color_range=2)
        container.mux([*stream.encode(full), *stream.encode()])
    _, _, rgb = next(read_frames(tmp_path / "full.mp4"))
    assert np.abs(rgb[32, 32::64].astype(int) - np.array(COLOURS)).max() <= 3


def test_writes_are_reproducible(tmp_path: Path) -> None:
    frames = [draw_scenery(2, 160, 208, (3 * i, i)) for i in range(20)]
    masks = [frame[..., 0] for frame in frames]
    for _ in range(3):
        write_video(tmp_path / "again.mp4", frames, 25)
        write_mask_video(tmp_path / "again.mkv", masks, 25)
        for suffix in ("mp4", "mkv"):
            first = tmp_path / f"first.{suffix}"
            if not first.exists():
                first.write_bytes((tmp_path / f"again.{suffix}").read_bytes())
            assert first.read_bytes() == (tmp_path / f"again.{suffix}").read_bytes()
    assert b"Lavf" not in (tmp_path / "first.mp4").read_bytes()


def test_masks_are_lossless(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = list(rng.integers(0, 256, (5, 33, 47), dtype=np.uint8))
    assert write_mask_video(tmp_path / "mask.mkv", masks, 25) == 5
    read = [mask for _, _, mask in read_frames(tmp_path / "mask.mkv", pixel_format="gray")]
    assert np.array_equal(read, masks)


def test_fractional_frame_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "ntsc.mp4", [corner_image()] * 4, Fraction(30000, 1001))
    times = [t for _, t, _ in read_frames(tmp_path / "ntsc.mp4")]
    assert times == pytest.approx([i * 1001 / 30000 for i in range(4)], abs=1e-4)


def test_timestamps_come_from_the_file(tmp_path: Path) -> None:
    times_ms = [500, 540, 700, 1500]
    with av.open(str(tmp_path / "vfr.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for time_ms in times_ms:
            frame = av.VideoFrame.from_ndarray(corner_image(), format="rgb24")
            frame.pts, frame.time_base = time_ms // 20, Fraction(1, 50)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    times = [t for _, t, _ in read_frames(tmp_path / "vfr.mkv")]
    assert times == pytest.approx([0, 0.04, 0.2, 1.0], abs=0.021)


@pytest.mark.parametrize(
    ("degrees", "hflip", "corners"),
    [
        (0, False, "RGBW"),
        (90, False, "GWRB"),
        (180, False, "WBGR"),
        (270, False, "BRWG"),
        (0, True, "GRWB"),
        (90, True, "WGBR"),
    ],
)
def test_display_matrix_is_applied(tmp_path: Path, degrees: int, hflip: bool, corners: str) -> None:
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(degrees, hflip=hflip)
        frame = av.VideoFrame.from_ndarray(corner_image(), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    _, _, rgb = next(read_frames(path))
    assert corner_names(rgb) == corners
    assert probe(path).width_px == rgb.shape[1]
    assert rgb.shape[:2] == ((96, 64) if degrees % 180 else (64, 96))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "flv"])
def test_pixels_that_are_not_square_are_stretched(tmp_path: Path, suffix: str) -> None:
    """A drawn face in 256x388 stored pixels of 2:1 is read with its true shape."""
    whole = draw_face(3, height=388, width=512, face_px=200).rgb
    stored = cv2.resize(whole, (256, 388), interpolation=cv2.INTER_AREA)
    path = tmp_path / f"wide.{suffix}"
    write_anamorphic(path, [stored] * 3, Fraction(2))
    assert (probe(path).width_px, probe(path).height_px) == (512, 388)
    for _, _, rgb in read_frames(path):
        assert rgb.shape == (388, 512, 3)
        blurred = [cv2.blur(pixels, (9, 9)).astype(int) for pixels in (rgb, whole)]
        assert np.abs(blurred[0] - blurred[1]).mean() < 3
    assert next(read_frames(path, max_side_px=128))[2].shape == (97, 128, 3)
    assert next(read_frames(path, pixel_format="gray"))[2].shape == (388, 512)


@pytest.mark.parametrize(
    ("aspect", "width"),
    [
        (None, 96),
        (Fraction(1), 96),
        (Fraction(1280, 1281), 96),
        (Fraction(16, 15), 102),
        (Fraction(8, 9), 86),
        (Fraction(1, 4), 24),
        (Fraction(4), 384),
    ],
    ids=str,
)
def test_displayed_width(tmp_path: Path, aspect: Fraction | None, width: int) -> None:
    write_anamorphic(tmp_path / "clip.mp4", [corner_image()] * 2, aspect)
    _, _, rgb = next(read_frames(tmp_path / "clip.mp4"))
    assert (rgb.shape, corner_names(rgb)) == ((64, width, 3), "RGBW")
    assert (probe(tmp_path / "clip.mp4").pixel_aspect) == (aspect or 1)


def test_the_stored_width_is_stretched_before_the_rotation(tmp_path: Path) -> None:
    write_anamorphic(tmp_path / "clip.mp4", [corner_image()] * 2, Fraction(2), turned_deg=90)
    _, _, rgb = next(read_frames(tmp_path / "clip.mp4"))
    assert (rgb.shape, corner_names(rgb)) == ((192, 64, 3), "GWRB")


@pytest.mark.parametrize(("aspect", "shown"), [((9, 2), "9:2"), ((1, 5), "1:5")])
def test_impossible_pixels_are_refused(tmp_path: Path, aspect: tuple[int, int], shown: str) -> None:
    write_anamorphic(tmp_path / "clip.mp4", [corner_image()] * 2, Fraction(*aspect))
    expected = rf"clip\.mp4: sample aspect ratio {shown}; expected 1:4 to 4:1"
    for reading in (probe, lambda path: list(read_frames(path))):
        with pytest.raises(DecodeError, match=expected):
            reading(tmp_path / "clip.mp4")


def test_the_limit_on_sides_holds_for_the_displayed_size(tmp_path: Path) -> None:
    stored = np.zeros((16, 4100, 3), np.uint8)
    write_anamorphic(tmp_path / "clip.mp4", [stored] * 2, Fraction(2))
    expected = r"clip\.mp4: 4100x16 px, displayed at 8200x16 px; the limit is 8192 px per side"
    with pytest.raises(TooLargeError, match=expected):
        probe(tmp_path / "clip.mp4")


@pytest.mark.parametrize("size", [(63, 96), (64, 95)])
def test_odd_sizes_are_rejected(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"odd\.mp4: \d+x\d+: both sides must be even"):
        write_video(tmp_path / "odd.mp4", [np.zeros((*size, 3), np.uint8)], 25)
    assert list(tmp_path.iterdir()) == []


def test_unusable_frames_are_rejected(tmp_path: Path) -> None:
    rgb = corner_image()
    with pytest.raises(ValueError, match=r"x\.mp4: there are no frames"):
        write_video(tmp_path / "x.mp4", [], 25)
    with pytest.raises(ValueError, match=r"x\.mp4: frame 1 is \(32, 96\), expected \(64, 96\)"):
        write_video(tmp_path / "x.mp4", [rgb, rgb[:32]], 25)
    with pytest.raises(ValueError, match=r"x\.wmv: expected a name that ends with"):
        write_video(tmp_path / "x.wmv", [rgb], 25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["playlist.mp4", "playlist.m3u8"])
def test_playlists_are_not_followed(tmp_path: Path, clip: Path, name: str) -> None:
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(DecodeError, match=name):
        list(read_frames(tmp_path / name))


def test_concat_scripts_are_not_followed(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "script.mp4"
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    path.write_text("ffconcat version 1.0\nfile clip.mp4\n")
    with av.open(str(path)) as container:  # libav itself follows it
        assert sum(1 for _ in container.decode(video=0)) == 48
    with pytest.raises(DecodeError, match=r"script\.mp4"):
        list(read_frames(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just text",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
    ],
)
def test_files_that_are_not_videos(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fake.mp4"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=r"fake\.mp4"):
        list(read_frames(path))
    with pytest.raises(DecodeError, match=r"fake\.mp4"):
        probe(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"none\.mp4: .*No such file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(DecodeError, match="directory"):
        probe(tmp_path)


def test_a_path_is_never_used_as_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DecodeError, match="No such file"):
        probe(Path("http:example.mp4"))


def test_sound_only(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 16000
        container.mux([*stream.encode(sound), *stream.encode()])
    with pytest.raises(DecodeError, match=r"sound\.mp4: contains no video stream"):
        probe(tmp_path / "sound.mp4")


def test_no_frames(tmp_path: Path, clip: Path) -> None:
    """A valid file whose sample table declares 0 samples."""
    data = bytearray(clip.read_bytes())
    at = data.index(b"stsz") + 12
    assert int.from_bytes(data[at : at + 4], "big") == 48
    data[at : at + 4] = bytes(4)
    path = tmp_path / "empty.mp4"
    path.write_bytes(bytes(data))
    with pytest.raises(DecodeError, match=r"empty\.mp4"):
        list(read_frames(path))


@pytest.mark.parametrize("kept_frac", [0.02, 0.4, 0.8])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_truncated(tmp_path: Path, suffix: str, kept_frac: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    write_clip(path, draw_clip(2, frames_per_scene=20))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept_frac * len(data))])
    with pytest.raises(DecodeError, match=rf"cut\.{suffix}"):
        list(read_frames(path))


def test_truncated_with_the_index_in_front(tmp_path: Path) -> None:
    path = tmp_path / "stream.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 208, 160, "yuv420p"
        for face in draw_clip(2, frames_per_scene=10):
            frame = av.VideoFrame.from_ndarray(face.rgb, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DecodeError, match=r"stream\.mp4: damaged or truncated after frame \d+"):
        list(read_frames(path))


def test_damaged_in_the_middle(tmp_path: Path, clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    data[start : start + 400] = bytes(400)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(bytes(data))
    with pytest.raises(DecodeError, match=r"damaged\.mp4"):
        list(read_frames(path))
