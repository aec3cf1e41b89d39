"""Near-duplicates of images by perceptual hash."""

from collections.abc import Iterator
from itertools import count, pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_BITS: Final = 64
HASH_INPUT_PX: Final = 32
HASH_SIDE: Final = 8

Hashes = NDArray[np.uint64]
Indices = NDArray[np.intp]


def perceptual_hash(grey: NDArray[np.uint8]) -> int:
    """64 bits of an (H, W) image: which of the 8x8 lowest DCT coefficients exceed the median.

    Robust to resizing, compression and changes of brightness, but not to cropping or mirroring.
    """
    size = (HASH_INPUT_PX, HASH_INPUT_PX)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE].ravel()
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def near_pairs(
    hashes: Hashes, most_bits: int
) -> Iterator[tuple[Indices, Indices, NDArray[np.uint8]]]:
    """Every pair of hashes that differ in at most `most_bits` bits, in batches of at most n pairs.

    hashes: (n,). most_bits: 0 to 63. Yields (first, second, bits): indices with first < second, and
    the number of bits in which they differ; each pair once.
    Of most_bits + 1 parts of the hash, near hashes have one in common (pigeonhole principle), so
    only hashes with an equal part are compared.
    """
    parts = _parts(most_bits + 1)
    for number, part in enumerate(parts):
        keys = hashes & part
        order = np.argsort(keys, kind="stable")  # equal keys stay in the order of their indices
        keys = keys[order]
        left = np.arange(len(hashes))
        for offset in count(1):
            left = left[left < len(hashes) - offset]
            left = left[keys[left] == keys[left + offset]]
            if not left.size:
                break
            first, second = order[left], order[left + offset]
            differing = hashes[first] ^ hashes[second]
            bits = np.bitwise_count(differing)
            # Pairs that also agree in an earlier part were found there.
            new = bits <= most_bits
            for earlier in parts[:number]:
                new &= (differing & earlier) != 0
            if new.any():
                yield first[new], second[new], bits[new]


def _parts(number: int) -> list[np.uint64]:
    """Masks that divide the bits of a hash into `number` runs of nearly equal length."""
    edges = [HASH_BITS * part // number for part in range(number + 1)]
    return [np.uint64(2**end - 2**start) for start, end in pairwise(edges)]
