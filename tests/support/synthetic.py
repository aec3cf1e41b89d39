"""Synthetic faces, clips and manifests for tests, drawn from a seed.

A drawn face depends on the person's seed and a pose. Its five keypoints are those of INSwapper's
(ArcFace's) template under a known similarity, so keypoints and the paste square are exact. Real
detectors find these faces, with boxes and keypoints within a few pixels of the drawn ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.manifest import FrameRow, InputRow
from pipeline.media.video_writer import write_mask_video, write_video
from tests.support.drawn_heads import BOX_112, TEMPLATE_112, paint, pose, transform

SHA256 = "0" * 64


@dataclass(frozen=True)
class DrawnFace:
    """An image rgb (H, W, 3) uint8, with box_xyxy (4,) and keypoints (5, 2) float32 in pixels."""

    rgb: ImageU8
    box_xyxy: FloatArray
    keypoints: FloatArray

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Similarity (2, 3) from the image to the 112-px square."""
        matrix, _ = cv2.estimateAffinePartial2D(self.keypoints, TEMPLATE_112)
        return np.asarray(matrix, dtype=np.float64)


def draw_face(
    person: int = 0,
    *,
    height: int = 240,
    width: int = 320,
    face_px: float = 100,
    centre: tuple[float, float] | None = None,
    roll_deg: float = 0,
    scenery: int | None = None,
    pan_px: tuple[int, int] = (0, 0),
) -> DrawnFace:
    """Draw a person in front of a textured wall.

    person: seed of the appearance. face_px: longer side of the face box. centre: of the box, by
    default the image's. scenery: seed of the background, by default the person's. pan_px: shift of
    the background.
    """
    backdrop = draw_scenery(person if scenery is None else scenery, height, width, pan_px)
    cx, cy = centre if centre is not None else (width / 2, height / 2)
    to_image = pose(face_px, cx, cy, roll_deg)
    rgb = paint(backdrop, to_image, person)
    corners = transform(np.array(BOX_112, dtype=np.float64).reshape(2, 2), pose(face_px, cx, cy, 0))
    return DrawnFace(
        rgb=np.clip(rgb + 0.5, 0, 255).astype(np.uint8),
        box_xyxy=corners.reshape(4).astype(np.float32),
        keypoints=transform(TEMPLATE_112.astype(np.float64), to_image).astype(np.float32),
    )


def draw_scenery(
    seed: int, height: int = 240, width: int = 320, pan_px: tuple[int, int] = (0, 0)
) -> ImageU8:
    """Textured wall without a face: (H, W, 3) uint8. pan_px: (x, y) of the camera, modulo 256."""
    left, top = pan_px[0] % 256, pan_px[1] % 256
    return _texture(seed, height, width)[top : top + height, left : left + width].copy()


@lru_cache(maxsize=32)
def _texture(seed: int, height: int, width: int) -> ImageU8:
    """Wall 256 px wider and higher than the image, over which the camera pans."""
    rng = np.random.default_rng([seed, 1])
    # One hue per seed, spread by the golden ratio, so that a cut changes the colours.
    hue = np.array(
        [[[int(seed * 111.246) % 180, 90 + seed * 37 % 90, 80 + seed * 53 % 110]]], np.uint8
    )
    tone = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)
    size = (width + 256, height + 256)
    coarse = cv2.resize(rng.normal(0, 14, (9, 12)), size, interpolation=cv2.INTER_CUBIC)
    middle = cv2.resize(rng.normal(0, 9, (60, 80)), size, interpolation=cv2.INTER_CUBIC)
    fine = rng.normal(0, 9, size[::-1])
    texture = (coarse + middle + fine)[..., None] + tone
    return np.asarray(np.clip(texture, 0, 255), dtype=np.uint8)


def draw_scene(
    person: int,
    frames: int,
    *,
    height: int = 240,
    width: int = 320,
    face_px: float = 100,
    scenery: int = 0,
) -> list[DrawnFace]:
    """Draw one shot; the camera pans and the head sways by a few pixels per frame."""
    scene = []
    for index in range(frames):
        sway = np.sin(index / 5 + person)
        centre = (width / 2 + 8 * sway - 0.5 * index, height / 2 + 4 * np.cos(index / 7))
        scene.append(
            draw_face(
                person,
                height=height,
                width=width,
                face_px=face_px * (1 + 0.004 * index),
                centre=centre,
                roll_deg=4 * sway,
                scenery=scenery,
                pan_px=(2 * index, index),
            )
        )
    return scene


def draw_clip(
    person: int,
    *,
    scenes: int = 2,
    frames_per_scene: int = 12,
    height: int = 160,
    width: int = 208,
    face_px: float = 70,
) -> list[DrawnFace]:
    """Draw shots of one person in front of different walls, with hard cuts between them."""
    return [
        face
        for scene in range(scenes)
        for face in draw_scene(
            person,
            frames_per_scene,
            height=height,
            width=width,
            face_px=face_px,
            scenery=10 * person + 3 * scene,
        )
    ]


def paste_alpha(face: DrawnFace) -> FloatArray:
    """Soft square (H, W) float32 in [0, 1] at INSwapper's paste; not its exact arithmetic."""
    height, width = face.rgb.shape[:2]
    white = np.ones((112, 112), np.float32)
    back = cv2.invertAffineTransform(face.matrix)
    square = cv2.warpAffine(white, back, (width, height))
    size = np.sqrt(np.count_nonzero(square > 0.5))
    eroded = cv2.erode(square, np.ones((int(max(size // 10, 3)),) * 2, np.uint8))
    blur = 2 * int(max(size // 20, 2)) + 1
    return np.asarray(cv2.GaussianBlur(eroded, (blur, blur), 0), dtype=np.float32)


def swap_face(face: DrawnFace, source_person: int) -> tuple[ImageU8, FloatArray]:
    """Paste a different person's 128-px face into the image; return fake rgb and alpha."""
    height, width = face.rgb.shape[:2]
    back = cv2.invertAffineTransform(128 / 112 * face.matrix)
    pasted = cv2.warpAffine(_aligned_128(source_person), back, (width, height))
    alpha = paste_alpha(face)
    mixed = alpha[..., None] * pasted + (1 - alpha[..., None]) * face.rgb
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8), alpha


@cache
def _aligned_128(person: int) -> ImageU8:
    donor = draw_face(person, height=192, width=192, face_px=100)
    return np.asarray(
        cv2.warpAffine(donor.rgb, 128 / 112 * donor.matrix, (128, 128)), dtype=np.uint8
    )


def alpha_u8(alpha: FloatArray) -> ImageU8:
    """Convert an opacity in [0, 1] to the stored form, uint8 in [0, 255]."""
    return np.round(255 * alpha).astype(np.uint8)


def write_clip(path: Path, faces: Sequence[DrawnFace], fps: int = 25, crf: int = 18) -> None:
    write_video(path, (face.rgb for face in faces), fps, crf=crf)


def write_swapped_clip(
    path: Path, faces: Sequence[DrawnFace], source_person: int, fps: int = 25, crf: int = 18
) -> None:
    """Write a fake and, in the folder masks/ next to it, the video of its paste mask."""
    swaps = [swap_face(face, source_person) for face in faces]
    write_video(path, (rgb for rgb, _ in swaps), fps, crf=crf)
    masks = (alpha_u8(alpha) for _, alpha in swaps)
    write_mask_video(path.parent / "masks" / f"{path.stem}.mkv", masks, fps)


def write_rgb(path: Path, rgb: ImageU8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), rgb[..., ::-1]):
        raise OSError(f"{path} cannot be written")


def encoded_png(rgb: ImageU8) -> bytes:
    """Encode (H, W, 3) uint8 as the content of a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def write_data_root(root: Path, *, people: int = 4, stills: bool = True, **clip: Any) -> None:
    """Write a tiny data root: `people` clips with INSwapper fakes, a UniFace fake of p0, stills.

    Swaps of person p<i> use no other person of the root (source seeds start at 100), so every
    person is a separate group. clip: keywords of draw_clip.
    """
    videos = root / "inswapper"
    for person in range(people):
        faces = draw_clip(person, **clip)
        write_clip(videos / "original_videos" / f"p{person}.mp4", faces)
        write_swapped_clip(videos / "inswapper" / f"p{person}.mp4", faces, 100 + person)
        if person == 0:
            write_swapped_clip(videos / "uniface" / "p0.mp4", faces, 100)
    lines = ["path,label,source,identity_id"]
    for person in range(people if stills else 0):
        write_rgb(root / "images" / f"p{person}.png", draw_face(person, face_px=120).rgb)
        lines.append(f"images/p{person}.png,0,drawn,p{person}")
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "images.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


REAL_ORIGIN: dict[str, Any] = {
    "video_id": "p0",
    "source": "videos",
    "label": 0,
    "fake_type": "real",
    "is_inswapper": 0,
    "identity_id": "p0",
}


def input_row(**changes: Any) -> InputRow:
    values: dict[str, Any] = {
        **REAL_ORIGIN,
        "path": "data/sample/inswapper/original_videos/p0.mp4",
        "sha256": SHA256,
    }
    return InputRow.model_validate(values | changes)


def frame_row(**changes: Any) -> FrameRow:
    values: dict[str, Any] = {
        **REAL_ORIGIN,
        "frame_path": "data/frames/p0/000_000004.png",
        "scene": 0,
        "frame_index": 4,
        "timestamp_s": 0.16,
    }
    return FrameRow.model_validate(values | changes)
