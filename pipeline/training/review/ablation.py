"""The contribution of each part of the detector: short runs that differ in one thing, per seed.

A part is measured on copies of validation faces and, if a folder of genuine swaps is given, on
those, because held-out pseudo-swaps rank designs wrongly. Every use of genuine swaps is counted.
Finished runs are saved, so hours of work can be interrupted, or shared by processes with different
seeds.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray
from pipeline.core.files import write_json
from pipeline.core.labels import FAKE, REAL
from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import fuse_face
from pipeline.decision.scorer import FaceScorer
from pipeline.runtime.params import Params
from pipeline.seam.trees import TreeEnsemble
from pipeline.training.calibration.fusion import fit_fusion
from pipeline.training.loop.parallel import Log
from pipeline.training.loop.resume import ResumeFile
from pipeline.training.loop.train import BEST, TrainingInputs, train
from pipeline.training.loop.validation import of_every_source
from pipeline.training.pairs.degradations import DEGRADED_COPIES, as_it_is
from pipeline.training.review.genuine_set import CELLS, GenuineSet, cell_of, counts_of
from pipeline.training.scoring.copies import AS_IT_IS, ScoredCopies, pool_of, score_copies
from pipeline.training.scoring.metrics import area_under_roc
from pipeline.training.scoring.served import load_scorer
from pipeline.training.store.reader import FaceStore, image_of
from pipeline.training.trees.fit import features_of, fit_trees, pair_features, seam_pairs

Overrides = Mapping[str, Mapping[str, Any]]

# Keep per-epoch validation cheap; its result is not used.
EPOCH_VAL_FACES: Final = 32
WARMUP_FRAC: Final = 0.15
# Members of a budget that choose the runs and do not change any of them.
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
# Networks, each with one change against "base", which is params.yaml unchanged.
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
    "seam": {},
    "seam_hull_mask": HULL,
    "seam_no_degradations": NO_DEGRADATIONS,
}


@dataclass(frozen=True)
class Budget:
    """Length of each short run. networks, trees: names of the variants to run.

    pairs: number per epoch. val_faces: number that a run is measured on, equally many per source.
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
        """The members that change a run's result."""
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


Scores = NDArray[np.float64]
ScoreFaces = Callable[[FaceEvidence], Scores]


@dataclass(frozen=True, eq=False)
class Material:
    """The faces that every variant is measured on, with their seam features, which no variant
    changes. faces: numbers in `store`. val_features: by name of the copy; cell_features: by name of
    the cell."""

    store: FaceStore
    faces: NDArray[np.int64]
    genuine: GenuineSet | None
    val_features: dict[str, FloatArray]
    cell_features: dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Scored:
    """Evidence of one trained network about all the material."""

    copies: ScoredCopies
    cells: dict[str, FaceEvidence]

    def with_trees(self, trees: TreeEnsemble, material: Material) -> "Scored":
        """The same evidence with the logits of an ensemble of seam trees."""

        def added(
            evidence: Mapping[str, FaceEvidence], features: Mapping[str, FloatArray]
        ) -> dict[str, FaceEvidence]:
            return {
                name: replace(part, trees=trees.logits(features[name]))
                for name, part in evidence.items()
            }

        copies = added(self.copies.copies, material.val_features)
        cells = added(self.cells, material.cell_features)
        return Scored(replace(self.copies, copies=copies), cells)


class SavedRuns:
    """Finished runs in a folder, one file each; other parameters have another folder."""

    def __init__(self, folder: Path, params: Params, budget: Budget) -> None:
        content = params.model_dump(exclude={"build_sample", "export"})
        described = json.dumps([content, budget.of_a_run()], sort_keys=True)
        digest = hashlib.sha256(described.encode())
        self.folder = folder / digest.hexdigest()[:16]

    def has(self, name: str, seed: int) -> bool:
        return self._path(name, seed).exists()

    def keep(self, name: str, seed: int, numbers: Mapping[str, float]) -> None:
        write_json(self._path(name, seed), numbers)

    def all(self) -> dict[str, list[dict[str, float]]]:
        """By name, seeds ascending."""
        found: dict[str, list[dict[str, float]]] = {}
        for path in sorted(self.folder.glob("*.json")):
            numbers = json.loads(path.read_text(encoding="utf-8"))
            found.setdefault(path.stem.rpartition("-")[0], []).append(numbers)
        return found

    def _path(self, name: str, seed: int) -> Path:
        return self.folder / f"{name}-{seed}.json"


def gather(store: FaceStore, genuine: GenuineSet | None, val_faces: int) -> Material:
    """Seam features of the copies of validation faces and of the genuine set's cells."""
    labels = store.faces["label"].to_numpy()
    halves = (np.flatnonzero(labels == label) for label in (REAL, FAKE))
    chosen = np.sort(
        np.concatenate([of_every_source(store, half, val_faces // 2) for half in halves])
    )
    faces = [image_of(store, int(face)) for face in chosen]
    copies = {AS_IT_IS: as_it_is} | {name: copy.degrade for name, copy in DEGRADED_COPIES.items()}
    cells = {} if genuine is None else {name: cell_of(genuine, name) for name in CELLS}
    return Material(
        store,
        chosen,
        genuine,
        {name: features_of(degrade(face) for face in faces) for name, degrade in copies.items()},
        {name: features_of(images) for name, images in cells.items()},
    )


def ablate(
    params: Params,
    inputs: TrainingInputs,
    material: Material,
    budget: Budget,
    kept: SavedRuns,
    workers: int,
    log: Log,
) -> dict[str, Any]:
    """Run every variant with every seed unless saved; returns the content of metrics/ablation.json.

    Each number is the mean over all saved seeds, with the least and the greatest.
    """
    for seed in budget.seeds:

        def keep(name: str, scored: Scored, score: ScoreFaces, seed: int = seed) -> None:
            numbers = _measured(scored, material, score, params)
            kept.keep(name, seed, numbers)
            listed = ", ".join(f"{key} {value:.4f}" for key, value in numbers.items())
            log(f"{name}, seed {seed}: {listed}")

        for name in budget.networks:
            if kept.has(name, seed):
                continue
            changed = changed_params(params, NETWORKS[name], seed, budget)
            scored = _score(_trained(changed, inputs), material)
            if name == BASE:
                _keep_parts(scored, params, seed, inputs, material, budget, keep, workers)
            keep(name, scored, _fixed(changed))
    return {
        "budget": budget.of_a_run(),
        "genuine": counts_of(material.genuine),
        "variant": {name: _spread(runs) for name, runs in kept.all().items()},
    }


def _fitted_trees(params: Params, store: FaceStore, workers: int) -> TreeEnsemble:
    pairs = seam_pairs(store, params)
    return fit_trees(*pair_features(pairs, store, params, workers), params.seam)


def _trained(params: Params, inputs: TrainingInputs) -> FaceScorer:
    with TemporaryDirectory() as name:
        folder = Path(name)
        resume = ResumeFile("ablation", folder / "resume")
        train(params, inputs, folder / "run", folder / "live", resume, log=lambda _: None)
        return load_scorer(folder / "run" / BEST, None, params)


def _score(scorer: FaceScorer, material: Material) -> Scored:
    genuine = material.genuine
    cells = {} if genuine is None else {name: cell_of(genuine, name) for name in CELLS}
    return Scored(
        score_copies(scorer, material.store, material.faces),
        {name: scorer.of_images(images) for name, images in cells.items()},
    )


def _keep_parts(
    scored: Scored,
    params: Params,
    seed: int,
    inputs: TrainingInputs,
    material: Material,
    budget: Budget,
    keep: Callable[[str, Scored, ScoreFaces], None],
    workers: int,
) -> None:
    """The trees alone, and network and trees together."""
    for name in budget.trees:
        changed = changed_params(params, TREES[name], seed, budget)
        with_trees = scored.with_trees(_fitted_trees(changed, inputs.train, workers), material)
        keep(name, with_trees, _tree_logits)
        if name == "seam":
            _keep_fusions(with_trees, changed, keep)


def _keep_fusions(
    scored: Scored, params: Params, keep: Callable[[str, Scored, ScoreFaces], None]
) -> None:
    """A learned fusion of the heads alone, and of heads and seam trees."""
    pool = pool_of(scored.copies, params.calibrate.min_face_px)
    heads = replace(pool, evidence=replace(pool.evidence, trees=None))
    least = params.calibrate.min_surroundings_frac
    alone, both = fit_fusion(heads, least), fit_fusion(pool, least)
    keep("fusion_learned", scored, lambda evidence: fuse_face(evidence, 1.0, alone))
    keep("fusion_learned_with_seam", scored, lambda evidence: fuse_face(evidence, 1.0, both))


def _measured(
    scored: Scored, material: Material, score: ScoreFaces, params: Params
) -> dict[str, float]:
    """AUC on all copies of validation faces together, and on every cell of the genuine set."""
    pool = pool_of(scored.copies, params.calibrate.min_face_px)
    numbers = {"val": area_under_roc(pool.labels, score(pool.evidence))}
    if material.genuine is not None:
        for name, evidence in scored.cells.items():
            numbers[name] = area_under_roc(material.genuine.labels, score(evidence))
    return numbers


def _fixed(params: Params) -> ScoreFaces:
    return lambda evidence: fuse_face(evidence, 1.0, params.fusion)


def _tree_logits(evidence: FaceEvidence) -> Scores:
    assert evidence.trees is not None  # added by Scored.with_trees
    return evidence.trees


def _spread(runs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return {
        key: {
            "mean": float(np.mean([run[key] for run in runs])),
            "least": min(run[key] for run in runs),
            "greatest": max(run[key] for run in runs),
        }
        for key in runs[0]
    } | {"runs": len(runs)}
