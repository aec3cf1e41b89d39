"""Sizes and checksums of a packed split's files, which show whether all of them are intact.

Zarr reads a missing file as zeros, which would be black images, and does not notice altered bytes
of an uncompressed array.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

# crc32 reads 1.9 GiB/s here and sha256 0.3 GiB/s; only accidents have to be found.
BLOCK_BYTES: Final = 1 << 20
ROOT: Final = "zarr.json"
FAULTS_SHOWN: Final = 5


def checksums(folder: Path) -> dict[str, list[int]]:
    """Size in bytes and CRC-32 by relative path of all files below a Zarr group, sorted.

    The group's own metadata is left out, because it contains these checksums.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: [path.stat().st_size, _crc32(path)]
        for name, path in sorted(files.items())
        if name != ROOT and path.is_file()
    }


def file_faults(folder: Path, expected: Mapping[str, Sequence[int]]) -> list[str]:
    """Lines that name missing and altered files. expected: from `checksums`."""
    faults = []
    for name, (size, crc32) in expected.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{path}: not found")
        elif path.stat().st_size != size:
            faults.append(f"{path}: {path.stat().st_size} bytes; expected {size}")
        elif _crc32(path) != crc32:
            faults.append(f"{path}: damaged; its checksum differs")
    more = len(faults) - FAULTS_SHOWN
    return faults[:FAULTS_SHOWN] + ([f"{folder}: {more} more files"] if more > 0 else [])


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum
