"""Options of an import of photos."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from pipeline.runtime.errors import ParamsError
from pipeline.runtime.params import validation_lines
from pipeline.runtime.sections import Count, Fraction, OpenFraction, Seed, StrictModel


class PhotoImportParams(StrictModel):
    """What changes the root that is written. sources: names to take, empty for all there are.

    embedder: ONNX file that tells people apart, or None. same_person: least cosine similarity of
    two photos of one person. exclude: folders of people who must not come in. inswapper: the
    network that makes the twins, whose embedder is then needed; None for pseudo-swaps.
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
    """Options as the command line gives them. Raises ParamsError, one line a fault."""
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    try:
        return PhotoImportParams.model_validate(values)
    except ValidationError as error:
        raise ParamsError("\n".join(validation_lines("import_photos", error))) from None
