"""Which short runs an ablation is made of: one thing changed each, against params.yaml."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pipeline.fusion import SEAM
from pipeline.params import Params

Overrides = Mapping[str, Mapping[str, Any]]

# What a short run's own validation costs decides nothing: it has one epoch or keeps its last.
EPOCH_VAL_FACES: Final = 32
WARMUP_FRAC: Final = 0.15
# Of a budget, what says which runs there are and not what each of them is.
_WHICH_RUNS: Final = ("seeds", "networks", "trees")
DEGRADATION_FRACS: Final = (
    *("jpeg_frac", "second_jpeg_frac", "x264_frac", "resize_frac", "noise_frac"),
    *("gaussian_blur_frac", "motion_blur_frac", "colour_jitter_frac", "sharpen_frac"),
)
NO_DEGRADATIONS: Final = {
    "augment": dict.fromkeys(DEGRADATION_FRACS, 0.0),
    "pseudo_swap": {"soften_real_frac": 0.0, "soft_camera_frac": 0.0},
}
HULL: Final = {"pseudo_swap": {"hull_frac": 1.0, "box_frac": 0.0}}
# Networks, each with one thing changed against "base", which is params.yaml as it stands.
BASE: Final = "base"
NETWORKS: Final[dict[str, Overrides]] = {
    BASE: {},
    "hull_mask": HULL,
    "no_degradations": NO_DEGRADATIONS,
    "frequency_off": {"model": {"frequency": "off"}},
    "frequency_highpass": {"model": {"frequency": "highpass"}},
    "frequency_fft": {"model": {"frequency": "fft"}},
    "frequency_dct": {"model": {"frequency": "dct"}},
    "random_weights": {"model": {"weights": "none"}},
    "view_1.1x": {"model": {"views": ["1.1x"]}},
    "view_1.5x": {"model": {"views": ["1.5x"]}},
    "view_2x": {"model": {"views": ["2x"]}},
    "views_all": {"model": {"views": ["1.1x", "1.5x", "2x", "aligned"]}},
    "efficientnet_lite0": {"model": {"backbone": "efficientnet_lite0", "weights": "package"}},
    # No package carries weights of a ConvNeXt.
    "convnext_tiny_random": {"model": {"backbone": "convnext_tiny", "weights": "none"}},
}
TREES: Final[dict[str, Overrides]] = {
    SEAM: {},
    "seam_hull_mask": HULL,
    "seam_no_degradations": NO_DEGRADATIONS,
}


@dataclass(frozen=True)
class Budget:
    """How long each short run is. networks, trees: names of the variants to run.

    pairs: of one epoch. val_faces: that a run is judged on, of every source alike.
    """

    seeds: tuple[int, ...]
    epochs: int
    pairs: int
    batch_size: int
    seam_pairs: int
    val_faces: int
    networks: tuple[str, ...]
    trees: tuple[str, ...]

    def of_a_run(self) -> dict[str, Any]:
        """What each run is, without which runs there are."""
        return {key: value for key, value in asdict(self).items() if key not in _WHICH_RUNS}


def changed_params(params: Params, overrides: Overrides, seed: int, budget: Budget) -> Params:
    """Parameters with one thing changed, for a short run in which everything learns at once."""
    sections = params.model_dump()
    sections["train"] |= {
        "seed": seed,
        "epochs": budget.epochs,
        "pairs_per_epoch": budget.pairs,
        "batch_size": budget.batch_size,
        "frozen_epochs": 0,
        "last_stages_until_epoch": 0,
        "patience": budget.epochs,
        "warmup_epochs": WARMUP_FRAC * budget.epochs,
        "val_faces": EPOCH_VAL_FACES,
    }
    sections["seam"] |= {"pairs": budget.seam_pairs, "seeds": [seed]}
    for section, values in overrides.items():
        sections[section] |= values
    return Params.model_validate(sections)
