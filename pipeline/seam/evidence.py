"""Seam statistics in decibels, for people to read and for a page to plot."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.core.arrays import FloatArray
from pipeline.seam.rings import BAND_SIGMAS, BANDS, RING_EDGES, VIEW_SQUARE_PX, band_levels
from pipeline.views.paste import SQUARE_PX

# Levels are half natural logarithms of energy; this converts them to decibels.
DECIBEL: Final = 20 / np.log(10)


@dataclass(frozen=True, eq=False)
class SeamEvidence:
    """Texture inside and outside the paste square, finest band first.

    scale_px: (bands,) typical half-width of a band's detail, in pixels of INSwapper's 128-px face.
    inside_db, outside_db: (bands,) energy. profile_db: (bands, rings) energy, from the middle of
    the square outwards. NaN outside the image. A paste lacks the finest bands inside the square.
    """

    scale_px: FloatArray
    inside_db: FloatArray
    outside_db: FloatArray
    profile_db: FloatArray

    @property
    def drop_db(self) -> FloatArray:
        """(bands,) energy outside minus energy inside; larger means weaker texture inside."""
        return self.outside_db - self.inside_db

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dict, None where unknown. ring_edges: in half sides of the paste square."""
        return {
            "ring_edges": list(RING_EDGES),
            "bands": [
                {
                    "scale_px": round(float(self.scale_px[band]), 2),
                    "inside_db": _known(self.inside_db[band]),
                    "outside_db": _known(self.outside_db[band]),
                    "drop_db": _known(self.drop_db[band]),
                    "profile_db": [_known(level) for level in self.profile_db[band]],
                }
                for band in range(len(self.scale_px))
            ],
        }


def seam_evidence(statistics: FloatArray) -> SeamEvidence:
    """Evidence of one face from its ring statistics (pipeline.seam.rings.ring_statistics)."""
    levels = band_levels(statistics[None], "power")  # of one face: (1, maps, ...)
    edges = np.maximum(BAND_SIGMAS, 0.5)
    in_face = SQUARE_PX / VIEW_SQUARE_PX
    return SeamEvidence(
        scale_px=np.asarray(np.sqrt(edges[1:] * edges[:-1]) * in_face, np.float32),
        inside_db=_in_decibels(levels.inside[0, :BANDS]),
        outside_db=_in_decibels(levels.outside[0, :BANDS]),
        profile_db=_in_decibels(levels.ring[0, :BANDS]),
    )


def _in_decibels(levels: np.ndarray[Any, np.dtype[np.float64]]) -> FloatArray:
    return np.asarray(DECIBEL * levels, np.float32)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 1)
