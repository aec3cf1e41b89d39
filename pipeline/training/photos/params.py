"""Options of a photo import."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from pipeline.runtime.errors import ParamsError
from pipeline.runtime.params import validation_lines
from pipeline.runtime.sections import Count, Fraction, OpenFraction, Seed, StrictModel


class PhotoImportParams(StrictModel):
    """Options that affect the data root that an import writes.

    sources: names of the sources to import, all if empty. embedder: ONNX file that compares faces,
    or None. same_person: least cosine similarity of two photos of one person. exclude: folders of
    people to leave out. inswapper: the network that makes the paired swaps, which also needs an
    embedder; None for pseudo-swaps.
    """

    seed: Seed
    sources: tuple[str, ...]
    detector: Annotated[str, Field(min_length=1)]
    pack: Annotated[str, Field(min_length=1)]
    min_score: OpenFraction
    min_face_px: Count
    max_side_px: Annotated[int, Field(ge=64)]
    hull_frac: Fraction
    reencode: bool
    embedder: Path | None
    same_person: OpenFraction
    exclude: tuple[Path, ...]
    inswapper: Path | None = None


def read_params(given: Mapping[str, Any]) -> PhotoImportParams:
    """Validate command-line options. Raises ParamsError with one line per fault."""
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    try:
        return PhotoImportParams.model_validate(values)
    except ValidationError as error:
        raise ParamsError("\n".join(validation_lines("import_photos", error))) from None
