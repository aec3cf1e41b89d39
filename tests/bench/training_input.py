"""Benchmark of training input with two loader processes: our store, image files, raw bytes.

Each item is what training reads: the context of a face, from which a view is cut.
"""

import itertools
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from loky import cpu_count
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.core.arrays import ImageU8
from pipeline.runtime.params import Params, load_params
from pipeline.training.loop.dataset import TrainDataset, init_worker
from pipeline.training.loop.train import TrainingInputs
from pipeline.training.pairs.images import trained_preprocess
from pipeline.training.pairs.sampler import Item
from pipeline.training.store.reader import FaceStore
from pipeline.views.cut import cut_view
from pipeline.views.preprocess import Preprocess
from tests.bench.options import Options
from tests.bench.rows import Goal, Row, faster
from tests.bench.stepper import learning, pair_sampler, stored_inputs
from tests.bench.timing import Timing, Works, timed

WORKERS = 2
IMAGES = 512
BATCH = 16
PNG = {"compress_level": 1}
JPEG = {"quality": 95}
BOX = ["x0", "y0", "x1", "y1"]
UNIT = "images/s"
Read = Callable[[int], ImageU8]


def rows(options: Options) -> list[Row]:
    """Raises ManifestError without a packed split."""
    params, inputs = cheap_step(load_params()), stored_inputs()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder, learning(params, inputs, plain=False) as call:
        works = {**loaders(inputs, params, Path(folder)), "step": lambda: call("step")}
        found = timed(works, options.few_rounds)
    # A step processes one batch; the other works read all images.
    found["step"] = found["step"].scaled(IMAGES / params.train.batch_size)
    return table(found)


def table(found: dict[str, Timing]) -> list[Row]:
    def row(work: str, against: str, ours: str, theirs: str, goal: Goal | None) -> Row:
        return faster(work, against, found[ours], found[theirs], IMAGES, UNIT, goal)

    plain, augmented = "loader without augmentation", "loader with augmentation"
    return [
        row(plain, "PNG files, CSV manifest, DataLoader", "zarr", "png", Goal(2)),
        row(plain, "JPEG files, CSV manifest, DataLoader", "zarr", "jpeg", Goal(2)),
        row(plain, "the same from uncompressed bytes", "zarr", "raw", Goal(0.8)),
        row(augmented, "training step of params.yaml alone", "augmented", "step", Goal(1)),
    ]


def loaders(inputs: TrainingInputs, params: Params, folder: Path) -> Works:
    """Functions that read IMAGES faces in batches with WORKERS processes."""
    store, preprocess = inputs.train, trained_preprocess(params)
    faces = [int(face) for face in np.arange(IMAGES) % len(store.faces)]
    sources = {
        "zarr": store.context,
        "raw": uncompressed(store, folder / "faces.bin").context,
    }
    datasets: dict[str, Dataset[Any]] = {
        name: Views(store, preprocess, read) for name, read in sources.items()
    }
    for suffix, options in (("png", PNG), ("jpeg", JPEG)):
        manifest = write_files(store, folder / suffix, suffix, options)
        datasets[suffix] = FileViews(manifest, preprocess)
    works = {name: _passes(dataset, faces) for name, dataset in datasets.items()}
    items = first_items(params, inputs, IMAGES)
    works["augmented"] = _passes(TrainDataset(store, params, inputs.quality), items)
    return works


def cheap_step(params: Params) -> Params:
    """params.yaml's recipe with random weights and all cores, the fastest consumer of images."""
    model = params.model.model_copy(update={"weights": "none"})
    train = params.train.model_copy(update={"threads": cpu_count()})
    return params.model_copy(update={"model": model, "train": train})


class Views(Dataset[Tensor]):
    """First view of each face of a store, cut from the context that `read` returns."""

    def __init__(self, store: FaceStore, preprocess: Preprocess, read: Read) -> None:
        self._store, self._preprocess, self._read = store, preprocess, read

    def __getitem__(self, face: int) -> Tensor:
        box, keypoints = self._store.box(face), self._store.keypoints(face)
        crop = cut_view(self._preprocess, 0, self._read(face), box, keypoints)
        return torch.from_numpy(self._preprocess.to_input(crop))


class FileViews(Dataset[Tensor]):
    """First view of each face from image files listed in a CSV with path and box."""

    def __init__(self, manifest: Path, preprocess: Preprocess) -> None:
        self._table, self._preprocess = pd.read_csv(manifest), preprocess

    def __getitem__(self, index: int) -> Tensor:
        row = self._table.iloc[index]
        rgb = np.asarray(Image.open(row["path"]).convert("RGB"))
        box = row[BOX].to_numpy(np.float32)
        crop = self._preprocess.crop(rgb, box, self._preprocess.scales[0])
        return torch.from_numpy(self._preprocess.to_input(crop))


def write_files(store: FaceStore, folder: Path, suffix: str, options: dict[str, int]) -> Path:
    """Write all contexts as files, and a CSV that lists them."""
    folder.mkdir()
    rows = []
    for face in range(len(store.faces)):
        path = folder / f"{face:06d}.{suffix}"
        Image.fromarray(store.context(face)).save(path, **options)
        rows.append([path.as_posix(), *store.box(face)])
    manifest = folder / "faces.csv"
    pd.DataFrame(rows, columns=["path", *BOX]).to_csv(manifest, index=False)
    return manifest


@dataclass(frozen=True, eq=False)
class Uncompressed:
    """Pixels of all faces in one file. shapes, offsets: shape and position of each face."""

    pixels: Any
    shapes: list[tuple[int, ...]]
    offsets: list[int]

    def context(self, face: int) -> ImageU8:
        shape, start = self.shapes[face], self.offsets[face]
        return np.asarray(self.pixels[start : start + math.prod(shape)]).reshape(shape)


def uncompressed(store: FaceStore, path: Path) -> Uncompressed:
    """Write all contexts to one memory-mapped file, to measure reading without a codec."""
    shapes, offsets = [], []
    with path.open("wb") as file:
        for face in range(len(store.faces)):
            rgb = store.context(face)
            shapes.append(rgb.shape)
            offsets.append(file.tell())
            file.write(np.ascontiguousarray(rgb).data)
    return Uncompressed(np.memmap(path, np.uint8, "r"), shapes, offsets)


def first_items(params: Params, inputs: TrainingInputs, count: int) -> list[Item]:
    """Items that training draws over successive epochs."""
    epochs = itertools.count(1)
    sampler = pair_sampler(params, inputs)
    drawn = itertools.chain.from_iterable(sampler.items(epoch) for epoch in epochs)
    return list(itertools.islice(drawn, count))


def _passes(dataset: Dataset[Any], items: list[Any]) -> Callable[[], None]:
    """A function that reads all items once; its processes persist between calls."""
    loader = DataLoader(
        dataset,
        batch_size=BATCH,
        sampler=items,
        num_workers=WORKERS,
        worker_init_fn=init_worker,
        persistent_workers=True,
    )

    def read_all() -> None:
        for _ in loader:
            pass

    return read_all
