"""The learning rate over a whole run: one warm-up, one cosine, whatever the phases."""

import math


def lr_factor(step: int, total_steps: int, warmup_steps: int, min_frac: float) -> float:
    """Share of the peak learning rate at `step` (0 to total_steps - 1), in (0, 1] for min_frac > 0.

    Rises linearly over warmup_steps, then falls along half a cosine and ends at min_frac.
    """
    warmup = min(warmup_steps, total_steps - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total_steps - 1 - warmup)
    return min_frac + (1 - min_frac) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
