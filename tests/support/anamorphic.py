"""Videos whose pixels are not square."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av

from pipeline.core.arrays import ImageU8


def write_anamorphic(
    path: Path, stored_rgb: Iterable[ImageU8], aspect: Fraction | None, *, turned_deg: int = 0
) -> None:
    """Write (H, W, 3) stored frames as nearly lossless H.264, with a declared pixel aspect.

    aspect: None to declare nothing. turned_deg: rotation of the display matrix.
    """
    frames = list(stored_rgb)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turned_deg:
            stream.set_display_rotation(turned_deg)
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
