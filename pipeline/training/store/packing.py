"""Packing of one split into a Zarr group."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.core.arrays import ImageU8
from pipeline.core.files import replacing_folder
from pipeline.runtime.errors import ManifestError
from pipeline.runtime.progress import tracked
from pipeline.training.store.checksums import checksums
from pipeline.training.store.reader import CHECKSUMS, FaceStore, open_manifest
from pipeline.training.store.webp_codec import WebpCodec
from pipeline.views.preprocess import Preprocess


def pack(manifest: Path, target: Path, preprocess: Preprocess, crops_per_shard: int) -> FaceStore:
    """Cut a split's crops and write it as a Zarr 3 group, with equal bytes on every run.

    Arrays: manifest (bytes of the CSV), crops (n, size, size, 3), and per face context (m, S, S, 3)
    padded with zeros, context_hw (m, 2), mask (m, S, S), has_mask (m,). Images are stored as
    lossless WebP. The attribute `checksums` has the size and CRC-32 of every file. The finished
    group replaces an older one in one step.
    Returns the packed split, as read from the CSV. Raises ManifestError as `open_manifest` does,
    and for masks of a wrong size.
    """
    source = open_manifest(manifest, preprocess)
    n_crops, n_faces = len(source.table), len(source.faces)
    with replacing_folder(target) as temporary:
        group = zarr.create_group(temporary, zarr_format=3)
        _put(group, "manifest", np.frombuffer(manifest.read_bytes(), np.uint8))
        crops = (source.crops(row) for row in range(n_crops))
        _put_each(group, "crops", crops, n_crops, crops_per_shard)
        sizes, has_mask = _put_faces(group, source, max(1, crops_per_shard * n_faces // n_crops))
        _put(group, "context_hw", sizes)
        _put(group, "has_mask", has_mask)
        group.attrs[CHECKSUMS] = checksums(temporary)
    return source


def _put_faces(
    group: zarr.Group, source: FaceStore, per_shard: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Write contexts and masks; return the contexts' sizes (m, 2) and whether masks exist (m,)."""
    count = len(source.faces)
    sizes = np.array([source.context_size(face) for face in range(count)], np.int32)
    _require_fitting_masks(source, sizes)
    side = int(sizes.max())
    contexts = (_padded(source.context(face), side) for face in range(count))
    _put_each(group, "context", contexts, count, per_shard)
    empty = np.zeros((side, side), np.uint8)
    masks = (source.images.mask(face) for face in range(count))
    padded = (empty if mask is None else _padded(mask, side) for mask in masks)
    _put_each(group, "mask", padded, count, per_shard)
    return sizes, np.array([bool(name) for name in source.faces["mask_path"]])


def _require_fitting_masks(source: FaceStore, sizes: NDArray[np.int32]) -> None:
    """Raise ManifestError for all masks whose size differs from their contexts, sizes: (faces, 2).

    Each mask is read again when it is packed, because keeping all of them would need memory in
    proportion to the number of faces.
    """
    faults = [
        f"{source.faces['mask_path'][face]!s}: mask of {mask.shape}, its context is {tuple(size)}"
        for face, size in enumerate(sizes.tolist())
        if (mask := source.images.mask(face)) is not None and mask.shape != tuple(size)
    ]
    if faults:
        raise ManifestError("\n".join(faults))


def _put(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=values.shape)
    array[...] = values


def _put_each(
    group: zarr.Group, name: str, items: Iterable[ImageU8], count: int, per_shard: int
) -> None:
    """Write one chunk per item and `per_shard` items per file; each shard is written at once."""
    stream = tracked(items, count, "images")
    first = next(stream)
    array = group.create_array(
        name,
        shape=(count, *first.shape),
        dtype=first.dtype,
        chunks=(1, *first.shape),
        shards=(per_shard, *first.shape),
        serializer=WebpCodec(),
        compressors=None,
    )
    for start in range(0, count, per_shard):
        size = min(per_shard, count - start)
        shard = [first] if start == 0 else []
        shard += [next(stream) for _ in range(size - len(shard))]
        array[start : start + size] = np.stack(shard)


def _padded(image: ImageU8, side: int) -> ImageU8:
    canvas = np.zeros((side, side, *image.shape[2:]), np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas
