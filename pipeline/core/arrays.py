"""Types of the arrays that modules exchange; each function documents the shapes it takes."""

import numpy as np
from numpy.typing import NDArray

# Pixels: (H, W, 3) RGB or (H, W) grey, 0 to 255.
ImageU8 = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
FloatArray64 = NDArray[np.float64]
