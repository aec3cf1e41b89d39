"""Faces in the photos of an import: the one to swap, and those of excluded people."""

from functools import partial
from pathlib import Path
from typing import Final

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.faces.detector import Face, find_faces
from pipeline.runtime.errors import DecodeError, ManifestError
from pipeline.runtime.workers import map_in_processes
from pipeline.training.photos.encoding import read_shrunk
from pipeline.training.photos.files import LeftOutRow, Photo, is_photo, listed, visible_files
from pipeline.training.photos.models import detector_of, embedder_of
from pipeline.training.photos.params import PhotoImportParams
from pipeline.training.photos.people import Found

EXCLUDED_FACES: Final = 64


def find_largest(params: PhotoImportParams, photo: Photo) -> Found | LeftOutRow:
    """Find the largest face of a photo, or the reason to leave the photo out."""
    skip = partial(LeftOutRow, path=photo.name, source=photo.source)
    try:
        rgb = read_shrunk(photo.path, params.max_side_px)
    except DecodeError as error:
        return skip(reason="decode_error", detail=str(error).removeprefix(f"{photo.path}: "))
    faces = _faces(params, rgb, 1, 1)
    if not faces:
        return skip(reason="no_face")
    if faces[0].size_px < params.min_face_px:
        detail = f"largest {faces[0].size_px:.0f} px, expected at least {params.min_face_px}"
        return skip(reason="face_too_small", detail=detail)
    keypoints = faces[0].keypoints
    if keypoints is None:
        return skip(reason="no_face", detail=f"{params.detector} gives no keypoints")
    embedding = (
        None if params.embedder is None else embedder_of(params.embedder).embed(rgb, keypoints)
    )
    return Found(photo, keypoints, embedding)


def excluded_faces(params: PhotoImportParams, workers: int) -> list[FloatArray]:
    """Embeddings of all faces in the folders of excluded people.

    Raises ManifestError if a folder is missing or none has a face, DecodeError for an unreadable
    image.
    """
    for folder in params.exclude:
        if not folder.is_dir():
            raise ManifestError(f"--exclude: {folder}: no such folder")
    images = [
        path
        for folder in params.exclude
        for path in sorted(visible_files(folder))
        if is_photo(path)
    ]
    faces = [
        face
        for many in map_in_processes(partial(_embed_all, params), images, workers, "photographs", 4)
        for face in many
    ]
    if params.exclude and not faces:
        raise ManifestError(
            f"--exclude: no face found in {listed([str(f) for f in params.exclude])}"
        )
    return faces


def _embed_all(params: PhotoImportParams, path: Path) -> list[FloatArray]:
    try:
        rgb = read_shrunk(path, params.max_side_px)
    except DecodeError as error:
        raise DecodeError(f"--exclude: {error}") from error
    if params.embedder is None:
        return []
    embedder = embedder_of(params.embedder)
    faces = _faces(params, rgb, 1, EXCLUDED_FACES)
    return [embedder.embed(rgb, face.keypoints) for face in faces if face.keypoints is not None]


def _faces(params: PhotoImportParams, rgb: ImageU8, least_px: int, most: int) -> list[Face]:
    detector = detector_of(params.detector, params.pack, params.min_score)
    return find_faces(
        detector, rgb, min_score=params.min_score, min_face_px=least_px, max_faces=most
    )
