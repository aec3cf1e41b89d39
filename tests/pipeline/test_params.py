"""pipeline.runtime.params: strict validation, with all faults reported at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.runtime.errors import ParamsError
from pipeline.runtime.params import load_params
from pipeline.runtime.sections import FusionParams

REPOSITORY = Path(__file__).parents[2]
DEFAULTS: dict[str, dict[str, Any]] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())


def write_params(path: Path, **changes: Any) -> Path:
    """The repository's params.yaml with `section__key=value` changes, values as YAML text."""
    lines = (REPOSITORY / "params.yaml").read_text().splitlines()
    for name, text in changes.items():
        section, key = name.split("__")
        start = lines.index(f"{section}:") + 1
        at = next(
            (i for i in range(start, len(lines)) if lines[i].startswith(f"  {key}:")), start - 1
        )
        changed = f"  {key}: {text}"
        if at < start:
            lines.insert(start, changed)
        else:
            lines[at] = changed
    path.write_text("\n".join(lines) + "\n")
    return path


def fault_lines(path: Path) -> list[str]:
    with pytest.raises(ParamsError) as raised:
        load_params(path)
    return str(raised.value).replace(f"{path}: ", "").splitlines()


def test_the_file_of_the_repository_is_valid() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    assert params.model_dump() == DEFAULTS


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-05", 1e-5), ("1E-5", 1e-5), ("2.5e-3", 0.0025), (".5", 0.5), ("1", 1.0), ("+3e+0", 3.0)],
)
def test_yaml_1_2_floats(tmp_path: Path, text: str, value: float) -> None:
    read = load_params(write_params(tmp_path / "p.yaml", train__lr=text)).train.lr
    assert isinstance(read, float)
    assert read == value


@settings(max_examples=30)
@given(st.floats(min_value=1e-300, max_value=1e300))
def test_any_float_that_python_writes(tmp_path_factory: pytest.TempPathFactory, lr: float) -> None:
    path = tmp_path_factory.getbasetemp() / "floats.yaml"
    assert load_params(write_params(path, train__lr=repr(lr))).train.lr == lr


def test_several_faults_at_once(tmp_path: Path) -> None:
    path = write_params(
        tmp_path / "p.yaml",
        train__lr="abc",
        train__nope="3",
        export__opset="17",
        model__dropout="true",
    )
    assert fault_lines(path) == [
        "model.dropout: Input should be a valid number (got True)",
        "train.lr: Input should be a valid number (got 'abc')",
        "train.nope: Extra inputs are not permitted (got 3)",
        "export.opset: Input should be greater than or equal to 18 (got 17)",
    ]


def test_unknown_and_missing_sections(tmp_path: Path) -> None:
    text = (REPOSITORY / "params.yaml").read_text()
    path = tmp_path / "p.yaml"
    path.write_text(text.replace("pack_zarr:", "pack_tar:"))
    assert fault_lines(path) == [
        "pack_zarr: Field required",
        "pack_tar: Extra inputs are not permitted (got {'crops_per_shard': 256})",
    ]


def test_duplicate_keys(tmp_path: Path) -> None:
    path = write_params(tmp_path / "p.yaml")
    text = path.read_text()
    path.write_text(text.replace("  clip_norm: 1.0", "  clip_norm: 1.0\n  clip_norm: 2.0"))
    lines = path.read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if text.startswith("  clip_norm: 2.0"))
    assert fault_lines(path) == [f"line {line}: duplicate key 'clip_norm'"]


@pytest.mark.parametrize("text", ["? [1, 2]\n: 3\n", "3: 4\n", "null: 4\n"])
def test_keys_that_are_not_names(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert fault_lines(path)[0].startswith("line 1: expected a name as key, got ")


@pytest.mark.parametrize(
    "text", [".inf", "-.inf", ".nan", "null", "'0.1'", "[0.1]", "yes", "0", "-1"]
)
def test_invalid_learning_rates(tmp_path: Path, text: str) -> None:
    (fault,) = fault_lines(write_params(tmp_path / "p.yaml", train__lr=text))
    assert fault.startswith("train.lr: Input should be")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"augment__jpeg_min": "80", "augment__jpeg_max": "70"},
            "augment: jpeg_min 80 is above jpeg_max 70",
        ),
        (
            {"pseudo_swap__low_pass_min_px": "100", "pseudo_swap__low_pass_max_px": "90"},
            "pseudo_swap: low_pass_min_px 100 is above low_pass_max_px 90",
        ),
        (
            {"pseudo_swap__hull_frac": "0.7", "pseudo_swap__box_frac": "0.6"},
            "pseudo_swap: hull_frac + box_frac must not exceed 1; the remainder are squares",
        ),
        (
            {"build_sample__scenes_min": "4", "build_sample__scenes_max": "2"},
            "build_sample: scenes_min 4 is above scenes_max 2",
        ),
        (
            {"split_groups__val_frac": "0.5", "split_groups__test_frac": "0.5"},
            "split_groups: val_frac + test_frac must be below 1, or no groups remain for training",
        ),
        (
            {"audit__allow": '["anna"]'},
            "audit.allow.0: String should match pattern"
            " '^(identity|source-identity|video|group):.+$|^near-duplicate:.+:.+$' (got 'anna')",
        ),
        (
            {"split_groups__test_sources": '[""]'},
            "split_groups.test_sources.0: String should have at least 1 character (got '')",
        ),
        ({"fusion__boundary": "0.2"}, "fusion: the three weights must sum to 1, got 1.05"),
        (
            {"train__frozen_epochs": "6", "train__last_stages_until_epoch": "5"},
            "train: frozen_epochs 6 is above last_stages_until_epoch 5",
        ),
        (
            {"train__warmup_epochs": "9", "train__epochs": "8"},
            "train: warmup_epochs 9.0 is above epochs 8",
        ),
        (
            {"preprocess__scales": "[1.5, 1.1]"},
            "preprocess: scales must ascend without repetition, got [1.5, 1.1]",
        ),
        (
            {"crop_faces__quality_quantiles": "[0.05, 0.25]"},
            "crop_faces: quality_quantiles must descend, got [0.05, 0.25]",
        ),
        (
            {"crop_faces__context_scale": "1.8"},
            "crop_faces.context_scale: must be at least the largest of"
            " preprocess.scales, 2 (got 1.8)",
        ),
        (
            {"crop_faces__detector": "yolo_face"},
            "crop_faces.model_file: yolo_face requires the path of a model",
        ),
        (
            {"model__weights": "file"},
            "model.weights_file: expected a path, because model.weights is file",
        ),
    ],
)
def test_values_that_contradict_each_other(
    tmp_path: Path, changes: dict[str, str], fault: str
) -> None:
    path = tmp_path / "p.yaml"
    sections = {name: dict(values) for name, values in DEFAULTS.items()}
    for name, text in changes.items():
        section, key = name.split("__")
        sections[section][key] = yaml.safe_load(text)
    path.write_text(yaml.safe_dump(sections, sort_keys=False))
    assert fault_lines(path) == [fault]


def test_several_contradictions_at_once(tmp_path: Path) -> None:
    path = write_params(tmp_path / "p.yaml", crop_faces__context_scale="1.2", model__weights="file")
    keys = [line.split(":")[0] for line in fault_lines(path)]
    assert keys == ["crop_faces.context_scale", "model.weights_file"]


def test_sections_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FusionParams(real_fake=0.5, inswapper=0.3, boundary=0.2).real_fake = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "expected a mapping of sections, got NoneType"),
        (b"- 1\n", "expected a mapping of sections, got list"),
        (b"a: [1\n", "not valid YAML: "),
        (b"a: !!python/object:os.system x\n", "not valid YAML: could not determine a constructor"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML: expected a single document"),
        (b"\xff\xfe\x00", "cannot be read as UTF-8 text: "),
    ],
)
def test_files_that_are_not_params(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    assert fault_lines(path)[0].startswith(fault)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert fault_lines(tmp_path / "none.yaml") == ["not found; run from the repository's root"]
    assert fault_lines(tmp_path)[0].startswith("cannot be read as UTF-8 text: ")
