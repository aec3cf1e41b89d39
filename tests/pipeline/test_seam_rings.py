"""pipeline.seam.rings: sums over rings and sectors of the paste square."""

import cv2
import numpy as np
import pytest

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.seam.rings import (
    ALL_MAPS,
    BANDS,
    CELL_PX,
    INSIDE,
    MAPS,
    OUTSIDE,
    OUTSIDE_CELLS,
    RING_EDGES,
    RINGS,
    SECTORS,
    SECTORS_PER_SIDE,
    ring_statistics,
)
from pipeline.views.paste import TEMPLATE, arcface_square

# The square is centred in an image of this side, at the scale of the view.
SIZE = 400
POINTS = np.asarray((TEMPLATE - 63.5) * 2 + SIZE / 2 - 0.5, np.float32)


def noise(seed: int = 0, size: int = SIZE) -> ImageU8:
    grey = np.random.default_rng(seed).normal(128, 20, (size, size))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def low_passed(rgb: ImageU8) -> ImageU8:
    """An image whose square went through 128 px and back, with hard edges."""
    matrix = arcface_square(POINTS)
    square = cv2.warpAffine(rgb, matrix, (128, 128), flags=cv2.INTER_AREA)
    inverse = cv2.invertAffineTransform(matrix)
    back = cv2.warpAffine(square, inverse, (SIZE, SIZE))
    inside = cv2.warpAffine(np.ones((128, 128), np.uint8), inverse, (SIZE, SIZE)) > 0
    return np.where(inside[..., None], back, rgb)


def mean_levels(statistics: FloatArray) -> FloatArray:
    """(MAPS, RINGS) mean energy per cell of each ring, over all sides."""
    return statistics[:MAPS].sum(axis=2) / statistics[-1].sum(axis=1)


def by_side(statistics: FloatArray) -> FloatArray:
    """(SIDES,) number of cells inside the image."""
    return statistics[-1].sum(axis=0).reshape(-1, SECTORS_PER_SIDE).sum(axis=1)


def test_every_cell_of_the_view_is_counted_once() -> None:
    found = ring_statistics(noise(), POINTS)
    assert found.shape == (2 * ALL_MAPS + 1, RINGS, SECTORS)
    assert found.dtype == np.float32
    assert found[-1].sum() == CELL_PX**2 == 29584
    assert found[-1, OUTSIDE].sum() == OUTSIDE_CELLS
    assert np.isfinite(found).all()


def test_rings_have_the_size_given_by_their_edges() -> None:
    counts = ring_statistics(noise(), POINTS)[-1]
    offsets = (np.arange(CELL_PX // 2) + 0.5) / 64  # of cells, in half sides from the middle
    within = np.array([(2 * np.count_nonzero(offsets < edge)) ** 2 for edge in RING_EDGES])
    assert counts.sum(axis=1).tolist() == np.diff(within).tolist()
    # Cells on the two diagonals count as top and bottom.
    assert by_side(ring_statistics(noise(), POINTS)) == pytest.approx(
        [CELL_PX**2 / 4] * 4, rel=0.02
    )


def test_only_cells_inside_the_image_count() -> None:
    """An image that ends in the middle of the square contains only some of its sides."""
    right_half = noise()[:, SIZE // 2 :]
    found = ring_statistics(right_half, POINTS - np.float32([SIZE / 2, 0]))
    top, right, bottom, left = by_side(found)
    whole = by_side(ring_statistics(noise(), POINTS))
    assert left == 0
    assert right == pytest.approx(whole[1], rel=0.03)
    assert (top, bottom) == (pytest.approx(whole[0] / 2, rel=0.05),) * 2
    nothing = ring_statistics(noise(), POINTS + np.float32(5000))
    assert not nothing.any()


def test_white_noise_has_a_flat_profile() -> None:
    """Measured ring to ring, in logarithms: a factor of 1.1, with few cells in the middle."""
    levels = np.mean([mean_levels(ring_statistics(noise(k), POINTS)) for k in range(4)], axis=0)
    profile = np.log(levels / levels.mean(axis=1, keepdims=True))
    assert np.abs(profile[:3]).max() < 0.1
    assert np.abs(profile[BANDS:]).max() < 0.1
    assert np.abs(profile[:, 3:]).max() < 0.25  # coarse bands have few waves per ring


def test_a_square_through_128_px_lacks_the_finest_bands_inside() -> None:
    rgb = noise()
    before, after = (mean_levels(ring_statistics(p, POINTS)) for p in (rgb, low_passed(rgb)))
    drop = np.log(before / after)
    # The loss of a 128-px round trip and the finest band nearly vanish inside the square.
    for row in (0, BANDS, BANDS + 1):
        assert drop[row, INSIDE].min() > 1.0
        assert np.abs(drop[row, OUTSIDE][2:]).max() < 0.05
    # Finer bands lose more.
    inside = drop[:BANDS, INSIDE].mean(axis=1)
    assert inside.tolist() == sorted(inside.tolist(), reverse=True)


def test_sectors_are_numbered_along_the_sides() -> None:
    """Texture increases to the right on top, downwards on the right side, and so on."""
    rgb = noise()
    rgb[: SIZE // 2, SIZE // 2 :] = 128  # no texture in the quarter at the top right
    found = ring_statistics(rgb, POINTS)
    levels = found[0, OUTSIDE].sum(axis=0) / found[-1, OUTSIDE].sum(axis=0)
    is_flat = (levels < 0.1 * levels.max()).tolist()
    top, right, rest = is_flat[:4], is_flat[4:8], is_flat[8:]
    assert top == [False, False, True, True]
    assert right == [True, True, False, False]
    assert not any(rest)


def test_curvature_is_summed_along_the_sides_and_mixed() -> None:
    """Stripes along a side have no mixed curvature; diagonal stripes have."""
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    for wave, is_mixed in ((2 * np.pi * y / 8, False), (2 * np.pi * (x + y) / 11, True)):
        grey = (128 + 60 * np.sin(wave)).round().astype(np.uint8)
        levels = ring_statistics(np.repeat(grey[..., None], 3, axis=2), POINTS)[MAPS:ALL_MAPS]
        along, mixed = levels[::2].sum(axis=(1, 2)), levels[1::2].sum(axis=(1, 2))
        assert ((mixed > 0.2 * along) == is_mixed).all()


def test_a_rotated_face_gives_nearly_the_same_statistics() -> None:
    """A rotation by 90 degrees permutes the sides and keeps the rings."""
    rgb = noise()
    upright = ring_statistics(rgb, POINTS)
    turned = np.ascontiguousarray(np.rot90(rgb))  # to the left: (x, y) -> (y, SIZE - 1 - x)
    points = np.stack([POINTS[:, 1], SIZE - 1 - POINTS[:, 0]], axis=1)
    np.testing.assert_allclose(ring_statistics(turned, points), upright, rtol=0.02, atol=2.0)


def test_unusable_keypoints_are_rejected() -> None:
    with pytest.raises(ValueError, match="coincide"):
        ring_statistics(noise(), np.full((5, 2), 9, np.float32))
