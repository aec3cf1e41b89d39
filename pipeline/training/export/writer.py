"""Assembly, checks and writing of the bundle that the service loads."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from torch import nn

from pipeline.bundle.load import (
    SCHEMA_VERSION,
    SPEC_FILE,
    DetectorSpec,
    FaceFinder,
    FileSpec,
    FrameSampling,
    Golden,
    Int8Check,
    Precision,
    Provenance,
    golden_seam,
    load_bundle,
)
from pipeline.bundle.session import golden_crops, golden_outputs, open_session
from pipeline.core.arrays import FloatArray
from pipeline.core.audit import AuditReport
from pipeline.core.files import replacing_folder, to_json, write_json
from pipeline.decision.decide import DecisionSpec
from pipeline.runtime.params import Params
from pipeline.seam.features import feature_names
from pipeline.seam.trees import TreeEnsemble
from pipeline.training.evaluation.evaluate import SAMPLE_ROOT
from pipeline.training.evaluation.schema import Counted, TestReport
from pipeline.training.export.int8_gate import gate_int8
from pipeline.training.network.checkpoint import CheckpointMeta
from pipeline.training.network.model import HEADS, QUALITY_CLASSES, SEAM_MAP_PX
from pipeline.training.network.onnx_export import CPU, export_onnx, quantise, require_parity
from pipeline.training.store.reader import FaceStore, evenly, image_of
from pipeline.views.cut import cut_views, view_names
from pipeline.views.preprocess import Preprocess

NAME = "inswapper-detector"
MODEL_FILES: dict[Precision, str] = {"fp32": "detector.onnx", "int8": "detector.int8.onnx"}
TREES_FILE = "seam_trees.npz"
CARD_FILE = "model_card.md"
CARD_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
HEAD_SHAPES: dict[str, list[int]] = {head: [] for head in HEADS} | {
    "quality": [QUALITY_CLASSES],
    "seam_map": [SEAM_MAP_PX, SEAM_MAP_PX],
}
PARITY_FACES = 8


@dataclass(frozen=True, eq=False)
class Trained:
    """Results of training, calibration and evaluation.

    store: the validation split. report, audit: content of metrics/test_report.json and audit.json.
    """

    model: nn.Module
    meta: CheckpointMeta
    trees: TreeEnsemble
    decision: DecisionSpec
    store: FaceStore
    report: TestReport
    audit: AuditReport


@dataclass(frozen=True)
class Models:
    """ONNX bytes per precision, and the result of the int8 check."""

    content: dict[Precision, bytes]
    int8: Int8Check


def write_bundle(
    target: Path, trained: Trained, params: Params, provenance: Provenance
) -> DetectorSpec:
    """Export, check and write a bundle; it replaces an older one.

    Raises BundleError if onnxruntime does not reproduce torch or the finished bundle does not load.
    Nothing is replaced in that case.
    """
    threads = params.train.threads
    models = build_models(trained, params)
    with replacing_folder(target) as temporary:
        (temporary / TREES_FILE).write_bytes(trained.trees.to_bytes())
        for precision, content in models.content.items():
            (temporary / MODEL_FILES[precision]).write_bytes(content)
        card = render_card(trained, params, models, provenance)
        (temporary / CARD_FILE).write_text(card, encoding="utf-8")
        spec = build_spec(temporary, trained, params, models, provenance)
        write_json(temporary / SPEC_FILE, spec.model_dump())
        for precision in models.content:
            load_bundle(temporary, threads, precision)
    return spec


def build_models(trained: Trained, params: Params) -> Models:
    """Export the exact model, and the int8 one if export.int8 is set and it passes the gate."""
    preprocess, threads = trained.meta.preprocess, params.train.threads
    exact = export_onnx(trained.model, preprocess, params.export.opset)
    session = open_session(exact, threads, CPU, MODEL_FILES["fp32"])
    require_parity(trained.model, session, parity_inputs(trained.store, preprocess, params))
    if not params.export.int8:
        return Models({"fp32": exact}, Int8Check(written=False, reason="export.int8 is false"))
    quantised = quantise(exact)
    int8 = open_session(quantised, threads, CPU, MODEL_FILES["int8"])
    check = gate_int8(session, int8, trained.store, preprocess, trained.trees, trained.decision)
    content: dict[Precision, bytes] = {"fp32": exact}
    return Models(content | {"int8": quantised} if check.written else content, check)


def build_spec(
    folder: Path, trained: Trained, params: Params, models: Models, provenance: Provenance
) -> DetectorSpec:
    """Content of detector.json, for the files that are already in `folder`."""
    preprocess, count = trained.meta.preprocess, params.export.golden_crops
    outputs = {
        precision: golden_outputs(
            open_session(content, params.train.threads, CPU, MODEL_FILES[precision]),
            preprocess,
            count,
            list(HEADS),
        )
        for precision, content in models.content.items()
    }
    finder = params.crop_faces
    return DetectorSpec(
        schema_version=SCHEMA_VERSION,
        name=NAME,
        version=version_of(models, trained),
        opset=params.export.opset,
        preprocess=preprocess,
        decision=trained.decision,
        heads=HEAD_SHAPES,
        quality=trained.meta.quality,
        face_finder=FaceFinder(
            detector=finder.detector, pack=finder.pack, min_score=finder.min_score
        ),
        sampling=FrameSampling(
            frames_per_scene=params.extract_frames.frames_per_scene,
            scene_threshold=params.extract_frames.scene_threshold,
            min_scene_s=params.extract_frames.min_scene_s,
        ),
        models={precision: MODEL_FILES[precision] for precision in models.content},
        seam_trees=TREES_FILE,
        files={path.name: file_spec(path) for path in sorted(folder.iterdir())},
        int8=models.int8,
        golden=Golden(count=count, outputs=outputs, seam=golden_seam(trained.trees, count)),
        provenance=provenance,
        metrics=headline_numbers(trained.report),
    )


def parity_inputs(store: FaceStore, preprocess: Preprocess, params: Params) -> list[FloatArray]:
    """Network inputs for the parity check: golden crops, and views of 8 evenly spaced faces.

    Each batch is (n, 3, size, size) float32.
    """
    images = [
        image_of(store, int(face)) for face in evenly(np.arange(len(store.faces)), PARITY_FACES)
    ]
    real = np.concatenate([cut_views(preprocess, p.rgb, p.box_xyxy, p.keypoints) for p in images])
    golden = golden_crops(params.export.golden_crops, preprocess.size_px)
    return [preprocess.to_input(crops) for crops in (golden, real)]


def provenance_of(
    trained_on: str, epoch: int, params: Params, code: str, data: Mapping[str, Path]
) -> Provenance:
    """Digests of code, parameters and data files.

    trained_on: the data root; only the last part of an absolute path is kept, because the rest
    belongs to this machine. code: digest of the code that the stage depends on. data: file paths by
    the names under which their digests are stored.
    """
    root = Path(trained_on)
    return Provenance(
        code_sha256=code,
        params_sha256=_digest(to_json(params.model_dump()).encode()),
        data_sha256={name: _digest(path.read_bytes()) for name, path in sorted(data.items())},
        trained_on=root.name if root.is_absolute() else root.as_posix(),
        epoch=epoch,
    )


def version_of(models: Models, trained: Trained) -> str:
    """Version of twelve hex digits that depends on the weights, the trees and the decision."""
    decision = to_json(trained.decision.model_dump()).encode()
    return _digest(models.content["fp32"] + trained.trees.to_bytes() + decision)[:12]


def file_spec(path: Path) -> FileSpec:
    content = path.read_bytes()
    return FileSpec(sha256=_digest(content), size_bytes=len(content))


def headline_numbers(report: TestReport) -> dict[str, float | None]:
    """The headline's numbers with their intervals, without counts and remarks."""
    return report.headline.model_dump(exclude=set(Counted.model_fields))


def render_card(trained: Trained, params: Params, models: Models, provenance: Provenance) -> str:
    """Text of model_card.md: purpose, test metrics and limits of the detector."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown from trusted values
    )
    template = environment.from_string(CARD_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        name=NAME,
        version=version_of(models, trained),
        model=trained.meta.model,
        preprocess=trained.meta.preprocess,
        views=view_names(trained.meta.preprocess),
        trees=len(trained.trees.roots),
        features=len(feature_names()),
        decision=trained.decision,
        report=trained.report,
        audit=trained.audit.sentences(),
        ladders=_ladders(trained.report),
        finder=params.crop_faces,
        int8=models.int8,
        provenance=provenance,
        is_sample=provenance.trained_on == SAMPLE_ROOT,
    )


def _ladders(report: TestReport) -> dict[str, list[tuple[float, float | None]]]:
    """(level, AUC) of every ladder by ascending level; JSON sorted them as text."""
    return {
        name: sorted((float(level), found.auc) for level, found in levels.items())
        for name, levels in report.ladder.by_name.items()
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
