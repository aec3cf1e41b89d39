"""pipeline.splits.near_duplicates: hashes of copies are near, and all near pairs are found."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.splits.near_duplicates import near_pairs, perceptual_hash
from tests.support.synthetic import draw_face

NEAR_BITS = 4


def found(hashes: list[int], most_bits: int) -> list[tuple[int, int, int]]:
    """All (first, second, bits) in order."""
    batches = near_pairs(np.array(hashes, np.uint64), most_bits)
    return sorted(
        (i, j, bits)
        for batch in batches
        for i, j, bits in zip(*(array.tolist() for array in batch), strict=True)
    )


def by_brute_force(hashes: list[int], most_bits: int) -> list[tuple[int, int, int]]:
    pairs = [(i, j) for j in range(len(hashes)) for i in range(j)]
    bits = [(hashes[i] ^ hashes[j]).bit_count() for i, j in pairs]
    return sorted((*pair, n) for pair, n in zip(pairs, bits, strict=True) if n <= most_bits)


def test_hashes_of_copies_are_near_and_of_others_far() -> None:
    grey = [cv2.cvtColor(draw_face(p).rgb, cv2.COLOR_RGB2GRAY) for p in range(6)]
    hashes = [perceptual_hash(image) for image in grey]
    brighter = perceptual_hash(np.clip(grey[0].astype(int) + 12, 0, 255).astype(np.uint8))
    assert (hashes[0] ^ brighter).bit_count() <= NEAR_BITS
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > NEAR_BITS


@st.composite
def clustered(draw: st.DrawFn) -> list[int]:
    """Hashes near a few centres, so that many pairs are near and many are equal."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    flips = st.lists(st.integers(0, 63), max_size=4)
    hashes = []
    for centre in draw(st.lists(st.sampled_from(centres), max_size=12)):
        for bit in draw(flips):
            centre ^= 1 << bit
        hashes.append(centre)
    return hashes


@settings(max_examples=60)
@given(clustered(), st.sampled_from([0, 1, 4, 16, 63]))
def test_every_near_pair_is_found_once(hashes: list[int], most_bits: int) -> None:
    assert found(hashes, most_bits) == by_brute_force(hashes, most_bits)


@pytest.mark.parametrize("bits", range(6))
def test_the_limit_is_included(bits: int) -> None:
    """Flipped bits are spread over the hash, one in each of its parts."""
    other = sum(1 << (13 * bit % 64) for bit in range(bits))
    assert found([0, other], NEAR_BITS) == ([(0, 1, bits)] if bits <= NEAR_BITS else [])
