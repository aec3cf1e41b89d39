"""Crops and faces of one split, from a Zarr group or directly from a CSV manifest.

The Zarr group has one chunk per item and many items per shard, so a split is a few files and one
read gets any crop. Both sources give the same values.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.labels import UNKNOWN
from pipeline.core.manifest import SplitRow
from pipeline.core.tables import read_table
from pipeline.media.images import read_image
from pipeline.runtime.errors import DecodeError, ManifestError
from pipeline.training.store import webp_codec  # noqa: F401  # zarr needs it to read the images
from pipeline.training.store.checksums import ROOT, file_faults
from pipeline.views.cut import surroundings_of
from pipeline.views.face_image import FaceImage
from pipeline.views.preprocess import Preprocess

KEYPOINT_COLUMNS = [f"kp{i}_{axis}" for i in range(5) for axis in "xy"]
# Attribute of the Zarr group (pipeline.training.store.checksums).
CHECKSUMS = "checksums"
# What identifies a face of a split, apart from its sharpness.
SET_COLUMNS = ["face_id", "source", "video_id", "frame_index", "label", "fake_type", "is_inswapper"]
BOX_COLUMNS = ["box_x0", "box_y0", "box_x1", "box_y1"]


class Images(Protocol):
    """Source of a split's images; `row` and `face` are indices of FaceStore's tables."""

    def crop(self, row: int) -> ImageU8: ...

    def context(self, face: int) -> ImageU8: ...

    def context_size(self, face: int) -> tuple[int, int]: ...

    def mask(self, face: int) -> ImageU8 | None: ...


@dataclass(frozen=True, eq=False)
class FaceStore:
    """Read access to one split; can be pickled for other processes.

    table: one row per crop, with the columns of SplitRow, in the manifest's order. faces: one row
    per face (that of its first crop), in order of first appearance; its index is the face's index.
    face_of_crop: (n,) face index of each crop.
    """

    table: pd.DataFrame
    faces: pd.DataFrame
    face_of_crop: NDArray[np.int64]
    images: Images

    def crops(self, row: int) -> ImageU8:
        """Stored crop of one row of `table`: (size, size, 3) uint8."""
        return self.images.crop(row)

    def crops_of(self, face: int) -> NDArray[np.int64]:
        """Rows of `table` with the crops of a face: (n,)."""
        start, end = self._ends_of_crops[face : face + 2]
        return self._crops_by_face[start:end]

    def context(self, face: int) -> ImageU8:
        """The face with its surroundings at native resolution: (H, W, 3) uint8."""
        return self.images.context(face)

    def context_size(self, face: int) -> tuple[int, int]:
        """Height and width of `context`, without reading it."""
        return self.images.context_size(face)

    def mask(self, face: int) -> FloatArray | None:
        """Opacity of the paste over the context: (H, W) float32 in [0, 1]; None if unknown."""
        mask = self.images.mask(face)
        return None if mask is None else mask.astype(np.float32) / np.float32(255)

    def box(self, face: int, context_of: int | None = None) -> FloatArray:
        """The face's box (4,) float32 in pixels of its context, or of that of another face."""
        return self._in_context(face, context_of)[:2].reshape(4)

    def keypoints(self, face: int, context_of: int | None = None) -> FloatArray | None:
        """Keypoints (5, 2) float32 as in `box`; None if the detector gave none."""
        points = self._in_context(face, context_of)[2:]
        return None if np.isnan(points).any() else points

    def window(self, face: int) -> NDArray[np.float64]:
        """Part of the frame that the context shows: (4,) x0, y0, x1, y1 in pixels of the frame."""
        start = self._offsets[face]
        size = np.array(self.context_size(face)[::-1]) / self.context_scale(face)
        return np.concatenate([start, start + size])

    def context_scale(self, face: int) -> float:
        """Pixels of the context per pixel of the frame, <= 1."""
        return float(self._scales[face])

    def _in_context(self, face: int, context_of: int | None) -> FloatArray:
        """Two box corners and five keypoints: (7, 2), in pixels of a context."""
        context = face if context_of is None else context_of
        points = (self._points[face] - self._offsets[context]) * self._scales[context]
        return np.asarray(points, np.float32)

    @cached_property
    def _crops_by_face(self) -> NDArray[np.int64]:
        """All rows of `table`, (n,), sorted by face."""
        return np.argsort(self.face_of_crop, kind="stable")

    @cached_property
    def _ends_of_crops(self) -> NDArray[np.int64]:
        """Where the rows of each face end in `_crops_by_face`, after a zero: (faces + 1,)."""
        return np.append(0, np.cumsum(np.bincount(self.face_of_crop)))

    @cached_property
    def _points(self) -> NDArray[np.float64]:
        """Two box corners and five keypoints per face: (faces, 7, 2), in pixels of the frame."""
        columns = BOX_COLUMNS + KEYPOINT_COLUMNS
        return self.faces[columns].to_numpy(np.float64).reshape(-1, 7, 2)

    @cached_property
    def _offsets(self) -> NDArray[np.float64]:
        return self.faces[["context_x", "context_y"]].to_numpy(np.float64)

    @cached_property
    def _scales(self) -> NDArray[np.float64]:
        return self.faces["context_scale"].to_numpy(np.float64)


@dataclass(frozen=True, eq=False)
class FileImages:
    """The image files of a manifest, decoded on access. Crops are cut from their frames.

    boxes_xyxy: (n, 4) and scales: (n,), box and crop_scale of each row.
    """

    preprocess: Preprocess
    image_path: list[str]
    boxes_xyxy: FloatArray
    scales: list[float]
    context_path: list[str]
    mask_path: list[str]
    # The crops of a face follow one another.
    _last_frame: dict[str, ImageU8] = field(default_factory=dict)

    def crop(self, row: int) -> ImageU8:
        path = self.image_path[row]
        if path not in self._last_frame:
            self._last_frame.clear()
            self._last_frame[path] = read_image(Path(path))
        frame = self._last_frame[path]
        return self.preprocess.crop(frame, self.boxes_xyxy[row], self.scales[row])

    def context(self, face: int) -> ImageU8:
        return _decode(Path(self.context_path[face]), "RGB")

    def context_size(self, face: int) -> tuple[int, int]:
        with Image.open(self.context_path[face]) as image:
            return image.height, image.width

    def mask(self, face: int) -> ImageU8 | None:
        return _decode(Path(self.mask_path[face]), "L") if self.mask_path[face] else None


@dataclass(frozen=True, eq=False)
class ZarrImages:
    """The arrays of a Zarr group written by `pack`."""

    crops: Any
    contexts: Any
    context_hw: NDArray[np.int32]
    masks: Any
    has_mask: NDArray[np.bool_]

    def crop(self, row: int) -> ImageU8:
        return np.asarray(self.crops[row], np.uint8)

    def context(self, face: int) -> ImageU8:
        height, width = self.context_hw[face]
        return np.asarray(self.contexts[face, :height, :width], np.uint8)

    def context_size(self, face: int) -> tuple[int, int]:
        height, width = self.context_hw[face]
        return int(height), int(width)

    def mask(self, face: int) -> ImageU8 | None:
        height, width = self.context_hw[face]
        if not self.has_mask[face]:
            return None
        return np.asarray(self.masks[face, :height, :width], np.uint8)


def view_labels(store: FaceStore, face: int, preprocess: Preprocess) -> list[int]:
    """Boundary label of each view of a face; the aligned view gets that of the widest crop."""
    rows = store.crops_of(face)
    scales, labels = (
        store.table[name].to_numpy()[rows].tolist() for name in ("crop_scale", "boundary_label")
    )
    known = dict(zip(scales, labels, strict=True))
    views = [known.get(scale, UNKNOWN) for scale in preprocess.scales]
    return [*views, known[max(known)]] if preprocess.aligned else views


def open_manifest(path: Path, preprocess: Preprocess) -> FaceStore:
    """Read a split from its CSV. preprocess: how the crops are cut.

    Raises ManifestError for a malformed CSV or missing files; it lists all faults.
    """
    table = pd.DataFrame(read_table(path, SplitRow))
    _require_files(path, table)
    faces, face_of_crop = _faces_of(table)
    images = FileImages(
        preprocess,
        list(table["image_path"]),
        table[BOX_COLUMNS].to_numpy(np.float32),
        list(table["crop_scale"]),
        list(faces["context_path"]),
        list(faces["mask_path"]),
    )
    return FaceStore(table, faces, face_of_crop, images)


def open_zarr(path: Path) -> FaceStore:
    """Read a split that `pack` wrote; every file is read once to check it (1.9 GiB/s).

    Raises ManifestError if the split is missing, or names its missing and damaged files.
    """
    manifest, crops, contexts, sizes, masks, has_mask = _open_arrays(path)
    table = pd.DataFrame(read_table(path, SplitRow, manifest[:].tobytes()))
    faces, face_of_crop = _faces_of(table)
    images = ZarrImages(crops, contexts, sizes[:], masks, has_mask[:])
    return FaceStore(table, faces, face_of_crop, images)


def _open_arrays(path: Path) -> list[Any]:
    """The six arrays of a packed split, whose files are all intact."""
    names = ("manifest", "crops", "context", "context_hw", "mask", "has_mask")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        checksums: Any = group.attrs[CHECKSUMS]
        if not (faults := file_faults(path, checksums)):
            return [group[name] for name in names]
    except (FileNotFoundError, KeyError) as error:
        raise ManifestError(f"{path}: not a packed split ({error}); run pack_zarr") from None
    except (AttributeError, TypeError, ValueError) as error:
        faults = [f"{path / ROOT}: damaged ({error})"]
    rebuild = f"dvc repro --force --single-item pack_zarr@{path.stem}"
    raise ManifestError("\n".join([*faults, f"{path}: rebuild it with `{rebuild}`"]))


def _faces_of(table: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    if table.empty:
        raise ManifestError("a split without rows; see split_groups")
    face_of_crop, _ = pd.factorize(table["face_id"])
    faces = table.drop_duplicates("face_id").reset_index(drop=True)
    return faces, np.asarray(face_of_crop, np.int64)


def _require_files(manifest: Path, table: pd.DataFrame) -> None:
    columns = ("image_path", "context_path", "mask_path")
    faults = [
        f"{manifest}: row {row + 2}: {column}: {name!r} not found"
        for column in columns
        for row, name in enumerate(table[column])
        if name and not Path(name).is_file()
    ]
    if faults:
        raise ManifestError("\n".join(faults))


def _decode(path: Path, mode: str) -> ImageU8:
    try:
        with Image.open(path) as image:
            return np.array(image.convert(mode), dtype=np.uint8)
    except OSError as error:
        raise DecodeError(f"{path}: cannot be decoded ({error})") from error


def image_of(store: FaceStore, face: int) -> FaceImage:
    """A stored face with its surroundings, box and keypoints."""
    return FaceImage(store.context(face), store.box(face), store.keypoints(face))


def surroundings_fracs(store: FaceStore, faces: Iterable[int] | None = None) -> NDArray[np.float64]:
    """Visible fraction of each face's surroundings, (faces,), by `views.cut.surroundings_of`.

    A context ends where its image ends. faces: face indices; None for all.
    """
    chosen = range(len(store.faces)) if faces is None else faces
    return np.array(
        [
            surroundings_of(store.box(face), store.keypoints(face), *store.context_size(face))
            for face in chosen
        ]
    )


def set_digest(store: FaceStore) -> str:
    """12 hex digits that are equal if two splits consist of the same faces, labels and sources.

    Crops, boxes and the order of the rows may differ. Sharpness, with two digits, notices other
    images under the same names and not the rounding of another kind of CPU.
    """
    faces = store.faces[SET_COLUMNS].assign(
        sharpness=[f"{value:.1e}" for value in store.faces["sharpness"]]
    )
    rows = faces.sort_values("face_id", kind="stable").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(rows.encode()).hexdigest()[:12]


def evenly(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the indices, evenly spaced and in their order, without randomness."""
    if len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(np.int64)]
