"""One whole inference before a detector serves, so that the first request does not pay for it."""

import numpy as np

from pipeline.faces.detector import Face
from pipeline.seam import SQUARE_PX, TEMPLATE
from pipeline.session import golden_crops
from serve.inference import SwapDetector

MARGIN_PX = 64


def warm_up(detector: SwapDetector) -> None:
    """Look for faces in a drawn picture, and judge one that is said to be in its middle.

    Raises BundleError or DetectorError when a part does not work.
    """
    rgb = golden_crops(1, SQUARE_PX + 2 * MARGIN_PX)[0]
    detector.judge_picture(rgb)
    box = np.array([MARGIN_PX, MARGIN_PX, MARGIN_PX + SQUARE_PX, MARGIN_PX + SQUARE_PX], np.float32)
    keypoints = np.asarray(TEMPLATE + MARGIN_PX, np.float32)
    detector.judge_faces(rgb, [Face(box, keypoints, 1.0)])
