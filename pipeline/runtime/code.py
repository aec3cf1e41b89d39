"""Source code that decides a stage's output: its script and the folders listed in dvc.yaml."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from pipeline.runtime.errors import PipelineError

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "stages")
# Templates also decide an output.
SUFFIXES = (".py", ".j2")


def stage_code(stage: str, repository: Path = REPOSITORY) -> list[Path]:
    """Sorted source files and templates among the dependencies of a stage.

    pipeline/runtime is never included: it reads params, reports errors and distributes work, but
    does not change an output. Raises PipelineError when dvc.yaml has no such stage.
    """
    path = repository / "dvc.yaml"
    try:
        definition: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"][
            stage
        ]
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise PipelineError(f"{path}: no stage {stage!r} ({type(error).__name__})") from error
    paths = [repository / dep for dep in definition["deps"] if dep.split("/")[0] in PACKAGES]
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))}
    return sorted(file for file in files if file.suffix in SUFFIXES)


def code_digest(stage: str, repository: Path = REPOSITORY) -> str:
    """sha256 of the names and contents of `stage_code`."""
    digest = hashlib.sha256()
    for file in stage_code(stage, repository):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(repository).as_posix()} {content}\n".encode())
    return digest.hexdigest()
