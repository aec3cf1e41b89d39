"""A head drawn from a seed over any image, on ArcFace's template under a known similarity."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import ImageU8

# ArcFace's five points in its 112-px square: eyes, nose, mouth corners, left to right as seen.
TEMPLATE_112 = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float32,
)
# Box in which a detector finds the drawn head, in the same square.
BOX_112 = (22.0, 22.0, 90.0, 110.0)


def pose(face_px: float, cx: float, cy: float, roll_deg: float) -> NDArray[np.float64]:
    """Similarity (2, 3) from the 112-px square to the image, with the box's centre at (cx, cy)."""
    x0, y0, x1, y1 = BOX_112
    scale = face_px / max(x1 - x0, y1 - y0)
    angle = np.deg2rad(roll_deg)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = np.array([cx, cy]) - linear @ np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    return np.column_stack([linear, offset])


def transform(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:, :2].T + matrix[:, 2]


class _Canvas:
    """Draws soft ellipses, given in the 112-px square, into the image."""

    def __init__(self, rgb: ImageU8, to_image: NDArray[np.float64]) -> None:
        self.rgb = rgb.astype(np.float32)
        self.to_image = to_image
        back = cv2.invertAffineTransform(to_image)
        height, width = rgb.shape[:2]
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        self.u = (back[0, 0] * x + back[0, 1] * y + back[0, 2]).astype(np.float32)
        self.v = (back[1, 0] * x + back[1, 1] * y + back[1, 2]).astype(np.float32)
        self.softness = float(abs(back[0, 0]) + abs(back[0, 1]))

    def disc(self, colour: Any, opacity: float, ellipse: tuple[float, ...], edge: float) -> None:
        """Draw an ellipse (centre u, v; two radii). edge: its blur. colour: (3,) or (H, W, 3)."""
        cu, cv, ru, rv = ellipse
        reach = max(ru, rv) + 2 * (edge + self.softness)
        scale = float(np.hypot(*self.to_image[0, :2]))
        px, py = transform(np.array([[cu, cv]]), self.to_image)[0]
        height, width = self.u.shape
        left, right = np.clip([px - scale * reach, px + scale * reach + 1], 0, width).astype(int)
        top, bottom = np.clip([py - scale * reach, py + scale * reach + 1], 0, height).astype(int)
        at = np.s_[top:bottom, left:right]
        distance = np.hypot((self.u[at] - cu) / ru, (self.v[at] - cv) / rv)
        blur = (self.softness + edge) / min(ru, rv)
        alpha = opacity * np.clip((1 - distance) / blur + 0.5, 0, 1)[..., None]
        painted = colour if np.ndim(colour) == 1 else colour[at]
        self.rgb[at] += alpha * (np.asarray(painted, dtype=np.float32) - self.rgb[at])


def paint(rgb: ImageU8, to_image: NDArray[np.float64], person: int) -> NDArray[np.float32]:
    """Draw a head over `rgb`; the person's seed determines its appearance."""
    rng = np.random.default_rng([person, 2])
    skin = np.array([150, 108, 84]) + rng.uniform(-30, 60) * np.array([1.0, 0.9, 0.8])
    hair = rng.uniform(15, 90) * np.array([1.0, 0.75, 0.5])
    iris = rng.uniform(20, 90, 3)
    lips = skin * np.array([0.78, 0.5, 0.52])
    wide = rng.uniform(0.95, 1.06)
    canvas = _Canvas(rgb, to_image)
    draw, u, v = canvas.disc, canvas.u, canvas.v
    pores = _sampled(rng.normal(0, 7, (256, 256)), u, v)[..., None]
    shade = 1.06 - 0.004 * np.abs(u - 52) - 0.0012 * np.maximum(v - 60, 0)
    body = skin.astype(np.float32) * shade[..., None] + pores
    locks = hair.astype(np.float32) + 2 * pores
    draw(locks, 1, (56, 52, 44 * wide, 52), 2)
    draw(body * 0.8, 1, (56, 122, 19 * wide, 34), 3)
    draw(body, 1, (56, 68, 35 * wide, 45), 1.5)
    draw(locks, 1, (56, 22, 30 * wide, 9), 6)
    for eye_u, eye_v in TEMPLATE_112[:2].tolist():
        draw(body * 0.78, 0.6, (eye_u, eye_v, 11, 7.5), 4)
        draw(hair * 0.8, 0.85, (eye_u, eye_v - 10, 9.5, 2), 1.5)
        draw([228, 224, 218], 1, (eye_u, eye_v, 7, 3.5), 0.8)
        draw(iris, 1, (eye_u, eye_v, 3.3, 3.4), 0.6)
        draw([12, 10, 10], 1, (eye_u, eye_v, 1.6, 1.6), 0.5)
        draw(hair * 0.5, 0.8, (eye_u, eye_v - 3.4, 7.5, 1.2), 0.8)
    draw(body * 1.1, 0.5, (55, 62, 3.5, 15), 4)
    draw(body * 0.72, 0.6, (56, 75.5, 9, 4), 3)
    draw(body * 0.35, 0.8, (52, 76, 2.2, 1.4), 1)
    draw(body * 0.35, 0.8, (60, 76, 2.2, 1.4), 1)
    draw(lips.astype(np.float32) + 0.5 * pores, 1, (56.1, 92.3, 15.5, 4.6), 1.2)
    draw(lips * 0.35, 0.9, (56.1, 92.0, 13.5, 0.9), 0.9)
    return canvas.rgb


def _sampled(
    texture: NDArray[np.float64], u: NDArray[np.float32], v: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Texture fixed to the face, with one texel per half unit of the 112-px square."""
    sampled = cv2.remap(
        texture.astype(np.float32),
        2 * u,
        2 * v,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(sampled, dtype=np.float32)
