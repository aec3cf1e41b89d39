"""Allowed imports between packages, tested in a clean interpreter and in the source."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bundles import write_bundle
from tests.support.imports import ROOT, imported_names, sources
from tests.support.synthetic import draw_face

TRAINING_ONLY = (
    "albumentations",
    "dvc",
    "dvclive",
    "lightning_fabric",
    "matplotlib",
    "pandas",
    "sklearn",
    "timm",
    "torch",
    "torchvision",
    "zarr",
    "pipeline.training",
    "stages",
)

# An AssertionError is not an ImportError, so no `try: import torch` can hide an attempt.
GUARD = """
import sys
from importlib.abc import MetaPathFinder

BANNED = sys.argv.pop(1).split()

class Guard(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if any(name == banned or name.startswith(banned + ".") for banned in BANNED):
            raise AssertionError("imports " + name)

sys.meta_path.insert(0, Guard())
"""


def run_guarded(
    code: str, *arguments: str, banned: tuple[str, ...] = (*TRAINING_ONLY, "ray")
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GUARD + code, " ".join(banned), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def modules(package: str) -> list[str]:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources(package)]
    return [name.removesuffix(".__init__") for name in names if ".training" not in name]


@pytest.mark.parametrize("package", ["pipeline", "serve"])
def test_no_module_loads_a_training_library(package: str) -> None:
    done = run_guarded("for name in sys.argv[1:]: __import__(name)", *modules(package))
    assert done.returncode == 0, done.stderr


def test_the_guard_detects_an_import() -> None:
    done = run_guarded("try:\n    import torch\nexcept ImportError:\n    pass")
    assert "imports torch" in done.stderr


@pytest.mark.slow
def test_a_whole_prediction_loads_no_training_library(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "face.png"), draw_face(1, face_px=110).rgb[:, :, ::-1])
    bundle = write_bundle(tmp_path / "bundle")
    arguments = [str(tmp_path / "face.png"), "--json", "--model", str(bundle)]
    done = run_guarded("from serve.predict import app\napp()", *arguments)
    assert done.returncode == 0, done.stderr
    assert '"verdict"' in done.stdout


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("pipeline", ("serve", "stages")),
        ("serve", ("pipeline.training", "stages")),
        ("stages", ("stages", "serve")),
    ],
)
def test_packages_import_only_lower_ones(package: str, forbidden: tuple[str, ...]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for name in sorted(imported_names(path))
        if any(name == f or name.startswith(f + ".") for f in forbidden)
    ]
    assert wrong == []


def test_base_modules_do_not_name_training_libraries() -> None:
    """Includes imports inside functions."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("pipeline")
        if "training" not in path.parts
        for name in sorted(imported_names(path))
        if any(name == banned or name.startswith(banned + ".") for banned in TRAINING_ONLY)
    ]
    assert wrong == []


def test_init_files_are_empty() -> None:
    """Except that of stages, which runs before a stage imports a library that computes."""
    files = [path for name in ("pipeline", "serve", "stages") for path in sources(name)]
    filled = [path for path in files if path.name == "__init__.py" and path.read_text()]
    assert filled == [ROOT / "stages" / "__init__.py"]
