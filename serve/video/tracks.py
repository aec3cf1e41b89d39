"""Faces followed through a scene by the overlap of their boxes; nobody is recognised.

No embedding of a face is computed: a track says "the same place", which within a scene is nearly
always the same person, and says nothing across scenes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.decision.thresholds import Thresholds, Verdict
from serve.detector.inference import ImageResult
from serve.detector.verdicts import alarm, counted, mean_verdict

# Samples lie far apart (a sixth of a scene), so a face has moved; heads side by side do not overlap
# at all. SORT (Bewley et al. 2016) follows people from frame to frame with the same limit.
MIN_IOU = 0.3

# (position of the frame, position of the face in it)
Sighting = tuple[int, int]


@dataclass(frozen=True)
class Track:
    """One face through consecutive sampled frames of a scene. track: number in order of appearance.

    score: mean over its counted faces, highest: the highest of these.
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
    """The tracks of sampled frames in their order, the most alarming first.

    scenes: the scene of each frame.
    """
    boxes = [np.array([f.face.box_xyxy for f in p.faces]).reshape(-1, 4) for p in images]
    tracks = []
    for number, sightings in enumerate(follow(boxes, scenes)):
        faces = [images[frame].faces[face] for frame, face in sightings]
        judgements = [(face.verdict, face.score) for face in faces]
        decision, score = mean_verdict(judgements, thresholds)
        scene = scenes[sightings[0][0]]
        highest = max(counted(judgements))
        tracks.append(Track(number, scene, decision, score, highest, tuple(sightings)))
    return tuple(sorted(tracks, key=lambda t: (-alarm(t.verdict), -t.score, t.track)))


def follow(boxes: Sequence[NDArray[Any]], scenes: Sequence[int]) -> list[list[Sighting]]:
    """Chains of faces in order of appearance; every face is in exactly one.

    boxes: (n, 4) of each frame, left, top, right, bottom. scenes: the scene of each frame. A chain
    ends with its scene and where a frame shows nothing that overlaps.
    """
    chains: list[list[Sighting]] = []
    # Chain of each face of the frame before.
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
    """Position in `after` -> position in `before`, one to one, the best overlap first."""
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
    """(n, 4) and (m, 4) boxes -> (n, m) intersection over union, in [0, 1]."""
    a = np.asarray(first, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, dtype=np.float64).reshape(1, -1, 4)
    corners = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = corners.clip(min=0).prod(axis=-1)
    areas = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1)
    return np.asarray(shared / (areas - shared))
