"""pipeline.training.store.webp_codec: chunks keep every pixel and are WebP images."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image
from zarr.storage import MemoryStore

from pipeline.training.store.webp_codec import WebpCodec
from tests.support.synthetic import draw_face


def array(store: Any, values: np.ndarray, per_shard: int | None = None) -> Any:
    chunk = values.shape[1:]
    created = zarr.create_array(
        store,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(1, *chunk),
        shards=None if per_shard is None else (per_shard, *chunk),
        serializer=WebpCodec(),
        compressors=None,
    )
    created[...] = values
    return created


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "rgb"])
@pytest.mark.parametrize("size", [(16, 16), (7, 9), (1, 1), (1, 5)])
def test_every_pixel_of_a_sharded_array(
    tmp_path: Path, size: tuple[int, int], channels: tuple[int, ...]
) -> None:
    values = np.random.default_rng(1).integers(0, 256, (5, *size, *channels), np.uint8)
    values[1] = 0
    values[2, -1:] = 0
    values[3, :, -1:] = 0
    values[4, :1] = 0
    array(tmp_path / "a.zarr", values, per_shard=2)
    read = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert np.array_equal(read[...], values)
    assert np.array_equal(read[4, :3, :2], values[4, :3, :2])


@pytest.mark.parametrize("level", [1, 2, 127, 128, 254, 255])
def test_grey_levels(level: int) -> None:
    values = np.full((1, 4, 4), level, np.uint8)
    assert np.array_equal(array(MemoryStore(), values)[...], values)


def test_a_chunk_is_a_webp_image_without_the_padding(tmp_path: Path) -> None:
    rgb = draw_face(1, height=40, width=50, face_px=30).rgb
    padded = np.zeros((1, 64, 64, 3), np.uint8)
    padded[0, :40, :50] = rgb
    array(tmp_path / "a.zarr", padded)
    chunk = (tmp_path / "a.zarr/c/0/0/0/0").read_bytes()
    image = Image.open(io.BytesIO(chunk))
    assert (image.format, image.size) == ("WEBP", (50, 40))
    assert np.array_equal(np.asarray(image), rgb)


def test_a_damaged_chunk_is_an_error(tmp_path: Path) -> None:
    created = array(tmp_path / "a.zarr", np.ones((1, 8, 8, 3), np.uint8))
    (tmp_path / "a.zarr/c/0/0/0/0").write_bytes(b"no image")
    with pytest.raises(ValueError, match="8 bytes is not a WebP image"):
        created[...]
