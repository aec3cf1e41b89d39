"""Types of the arrays that cross module borders; their shapes are given where they are used."""

import numpy as np
from numpy.typing import NDArray

# Pixels: (H, W, 3) RGB or (H, W) grey, 0 to 255.
ImageU8 = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
FloatArray64 = NDArray[np.float64]
