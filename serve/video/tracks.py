"""Tracking of faces through a scene by the overlap of their boxes, without face recognition.

No face embedding is computed. A track means "the same position", which within a scene is nearly
always the same person; tracks of different scenes are unrelated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.decision.thresholds import Thresholds, Verdict
from serve.detector.inference import ImageResult
from serve.detector.verdicts import alarm, counted, mean_verdict

# Samples are far apart (a sixth of a scene), so a face may have moved; boxes of adjacent heads do
# not overlap at all. SORT (Bewley et al. 2016) uses the same limit to track people.
MIN_IOU = 0.3

# (index of the frame, index of the face in it)
Sighting = tuple[int, int]


@dataclass(frozen=True)
class Track:
    """One face through consecutive sampled frames of a scene. track: number in order of appearance.

    score: mean over its counted faces. highest: maximum over them.
    """

    track: int
    scene: int
    verdict: Verdict
    score: float
    highest: float
    faces: tuple[Sighting, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "track": self.track,
            "scene": self.scene,
            "verdict": self.verdict,
            "score": round(self.score, 6),
            "highest": round(self.highest, 6),
            "faces": [{"frame": frame, "face": face} for frame, face in self.faces],
        }


def tracks_of(
    images: Sequence[ImageResult], scenes: Sequence[int], thresholds: Thresholds
) -> tuple[Track, ...]:
    """Tracks through the sampled frames, the most alarming first. scenes: scene of each frame."""
    boxes = [np.array([f.face.box_xyxy for f in p.faces]).reshape(-1, 4) for p in images]
    tracks = []
    for number, sightings in enumerate(follow(boxes, scenes)):
        faces = [images[frame].faces[face] for frame, face in sightings]
        scored = [(face.verdict, face.score) for face in faces]
        decision, score = mean_verdict(scored, thresholds)
        scene = scenes[sightings[0][0]]
        highest = max(counted(scored))
        tracks.append(Track(number, scene, decision, score, highest, tuple(sightings)))
    return tuple(sorted(tracks, key=lambda t: (-alarm(t.verdict), -t.score, t.track)))


def follow(boxes: Sequence[NDArray[Any]], scenes: Sequence[int]) -> list[list[Sighting]]:
    """Chains of faces in order of appearance; every face is in exactly one chain.

    boxes: (n, 4) per frame: left, top, right, bottom. scenes: scene of each frame. A chain ends at
    the end of its scene, or before a frame without an overlapping face.
    """
    chains: list[list[Sighting]] = []
    # Chain of each face of the previous frame.
    before: dict[int, list[Sighting]] = {}
    for frame, faces in enumerate(boxes):
        same_scene = frame > 0 and scenes[frame] == scenes[frame - 1]
        linked = link(boxes[frame - 1], faces) if same_scene else {}
        now = {}
        for face in range(len(faces)):
            if face in linked:
                chain = before[linked[face]]
            else:
                chain = []
                chains.append(chain)
            chain.append((frame, face))
            now[face] = chain
        before = now
    return chains


def link(before: ArrayLike, after: ArrayLike) -> dict[int, int]:
    """Match boxes one to one, best overlap first: index in `after` -> index in `before`."""
    overlap = box_iou(before, after)
    pairs: dict[int, int] = {}
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        old, new = (int(position) for position in np.unravel_index(flat, overlap.shape))
        if overlap[old, new] < MIN_IOU:
            break
        if new not in pairs and old not in pairs.values():
            pairs[new] = old
    return pairs


def box_iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of (n, 4) and (m, 4) boxes: (n, m), in [0, 1]."""
    a = np.asarray(first, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, dtype=np.float64).reshape(1, -1, 4)
    corners = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    overlap = corners.clip(min=0).prod(axis=-1)
    areas = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1)
    return np.asarray(overlap / (areas - overlap))
