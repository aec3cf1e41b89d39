"""From a decoded image to a verdict: find faces, score them, decide; the worst face counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bundle.load import Bundle, FaceFinder
from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.decision.decide import DecisionSpec, FaceDecision, decide, worst_face
from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import sigmoid
from pipeline.decision.scorer import FaceScorer
from pipeline.decision.thresholds import Verdict
from pipeline.faces.detector import Face, FaceDetector, find_faces
from pipeline.faces.load import load_detector
from pipeline.seam.evidence import SeamEvidence, seam_evidence
from pipeline.views.cut import seam_view
from pipeline.views.face_image import FaceImage
from serve.detector.bundles import open_bundle
from serve.detector.verdicts import ImageVerdict
from serve.settings import Settings

# Smaller faces are not reported. Faces between this size and the bundle's min_face_px are reported
# as undecided.
MIN_FOUND_PX = 20
SAMPLE_ROOT = "data/sample"


@dataclass(frozen=True, eq=False)
class FaceResult:
    """A detected face and the decision about it. seam_map: (32, 32) float32 in [0, 1], over the
    view that shows the whole seam; evidence: texture along the seam."""

    face: Face
    decision: FaceDecision
    seam_map: FloatArray
    evidence: SeamEvidence

    @property
    def verdict(self) -> Verdict:
        return self.decision.verdict

    @property
    def score(self) -> float:
        return self.decision.score

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: boxes and keypoints in pixels of the image, rounded to a tenth."""
        points = self.face.keypoints
        return {
            "box_xyxy": _rounded(self.face.box_xyxy, 1),
            "keypoints": None if points is None else [_rounded(point, 1) for point in points],
            "detector_score": round(self.face.score, 4),
            "verdict": self.decision.verdict,
            "score": round(self.decision.score, 6),
            "reasons": list(self.decision.reasons),
            "heads": {name: round(p, 6) for name, p in self.decision.heads.items()},
            "view_scores": _rounded(self.decision.view_scores, 6),
            "possible": list(self.decision.possible),
            "surroundings": round(self.decision.surroundings, 4),
            "seam_evidence": self.evidence.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class ImageResult:
    """faces: largest first. score: that of the face with the verdict, None without faces."""

    verdict: ImageVerdict
    score: float | None
    faces: tuple[FaceResult, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SwapDetector:
    """A verified bundle, a face detector and the active decision; threads can share it.

    warnings: those of every answer by this bundle with these settings.
    """

    bundle: Bundle
    face_detector: FaceDetector
    decision: DecisionSpec
    max_faces: int
    warnings: tuple[str, ...] = ()

    @cached_property
    def scorer(self) -> FaceScorer:
        """The bundle's network and seam trees."""
        return FaceScorer(self.bundle.predict, self.bundle.spec.preprocess, self.bundle.trees)

    @cached_property
    def seam_view(self) -> int:
        """Index of the view whose seam map is shown."""
        return seam_view(self.bundle.spec.preprocess)

    def with_threshold(self, threshold: float | None) -> "SwapDetector":
        """A copy that flags faces fake from `threshold` on; None for the bundle's own threshold.

        Raises ValueError outside [0, 1].
        """
        decision = self.bundle.spec.decision
        if threshold is not None:
            decision = decision.with_fake_from(threshold)
        return replace(self, decision=decision)

    def score_image(self, rgb: ImageU8) -> ImageResult:
        """Score an upright (H, W, 3) uint8 image; its verdict is that of its worst face."""
        finder = self.bundle.spec.face_finder
        faces = find_faces(
            self.face_detector,
            rgb,
            min_score=finder.min_score,
            min_face_px=MIN_FOUND_PX,
            max_faces=self.max_faces + 1,
        )
        warnings = []
        if len(faces) > self.max_faces:
            warnings.append(f"only the {self.max_faces} largest faces were examined")
        return image_result(self.score_faces(rgb, faces[: self.max_faces]), warnings)

    def score_faces(self, rgb: ImageU8, faces: Sequence[Face]) -> list[FaceResult]:
        """Score given faces of an image, in their order. Raises DetectorError without keypoints."""
        if not faces:
            return []
        images = [FaceImage(rgb, face.box_xyxy, face.keypoints) for face in faces]
        evidence = self.scorer.of_images(images, visuals=True)
        return [self._face_result(face, evidence[index]) for index, face in enumerate(faces)]

    def _face_result(self, face: Face, evidence: FaceEvidence) -> FaceResult:
        assert evidence.seam_map is not None  # kept with visuals=True
        assert evidence.rings is not None
        return FaceResult(
            face,
            decide(evidence, self.decision, face_px=face.size_px),
            sigmoid(evidence.seam_map[self.seam_view]).astype(np.float32),
            seam_evidence(evidence.rings),
        )


def load_swap_detector(
    settings: Settings, threads: int, chosen_bundle: Path | None = None
) -> SwapDetector:
    """Load and verify everything that a verdict needs. threads: number for one inference.

    Raises BundleError, DetectorError or PackageError.
    """
    bundle = open_bundle(settings, threads, chosen_bundle)
    face_detector = load_detector(
        settings.face_detector,
        pack=settings.face_pack,
        model_file=settings.detector_model,
        min_score=bundle.spec.face_finder.min_score,
        threads=threads,
    )
    detector = SwapDetector(
        bundle=bundle,
        face_detector=face_detector,
        decision=bundle.spec.decision,
        max_faces=settings.max_faces,
        warnings=standing_warnings(bundle, settings),
    )
    return detector.with_threshold(settings.threshold)


def image_result(faces: Sequence[FaceResult], warnings: Sequence[str] = ()) -> ImageResult:
    """The verdict of an image from its faces.

    Small faces in the background are ignored if a larger face was scored; otherwise every image of
    a crowd would be undecided.
    """
    if not faces:
        return ImageResult("no_face", None, warnings=tuple(warnings))
    large = [f for f in faces if "face_too_small" not in f.decision.reasons]
    counted = large or faces
    notes = list(warnings)
    if len(counted) < len(faces):
        notes.append(f"faces too small to score: {len(faces) - len(counted)} of {len(faces)}")
    worst = worst_face(f.decision for f in counted)
    return ImageResult(worst.verdict, worst.score, tuple(faces), tuple(notes))


def standing_warnings(bundle: Bundle, settings: Settings) -> tuple[str, ...]:
    """Warnings that every answer repeats about the bundle and the settings."""
    warnings = []
    if bundle.spec.provenance.trained_on == SAMPLE_ROOT:
        warnings.append(
            "this detector was trained on the embedded sample: it shows that the pipeline works"
            " and proves nothing about real swaps"
        )
    wanted, used = bundle.spec.face_finder, (settings.face_detector, settings.face_pack)
    if not _same_finder(wanted, *used):
        warnings.append(
            f"faces are found by {_finder_name(*used)}, but the detector was trained with"
            f" {_finder_name(wanted.detector, wanted.pack)}; boxes may differ"
            " (INSWAPPER_FACE_DETECTOR, INSWAPPER_FACE_PACK)"
        )
    return tuple(warnings)


def _same_finder(wanted: FaceFinder, detector: str, pack: str) -> bool:
    same_pack = wanted.pack == pack or detector != "insightface"
    return wanted.detector == detector and same_pack


def _finder_name(detector: str, pack: str) -> str:
    return f"{detector} ({pack})" if detector == "insightface" else detector


def _rounded(values: Any, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
