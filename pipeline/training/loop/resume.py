"""Resumption after Ctrl-C: the state of a run, saved outside the pipeline's outputs.

DVC deletes a stage's outputs before it reruns the stage, so the state is in `.resume/`, named by a
fingerprint of everything that determines the result.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from pipeline.runtime.errors import ResumeError, WeightsError
from pipeline.training.network.checkpoint import read_tensors, write_tensors

RESUME_DIR = Path(".resume")


def fingerprint(params: dict[str, Any], data: Iterable[Path], code: str) -> str:
    """Digest of the parameters, every file under `data`, the code and torch's version.

    params: sections as plain values. data: files or folders. code: digest of the stage's code.
    """
    digest = hashlib.sha256(json.dumps([params, code, torch.__version__], sort_keys=True).encode())
    for root in data:
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            if path.is_file():
                digest.update(str(path.relative_to(root.parent)).encode())
                with path.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class ResumeFile:
    """The saved state of one run."""

    def __init__(self, run: str, folder: Path = RESUME_DIR) -> None:
        self._run = run
        self.path = folder / f"{run[:16]}.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state. state: tensors and plain values."""
        write_tensors(self.path, {"fingerprint": self._run, "state": state})

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None if there is none.

        Raises ResumeError if the file is damaged or belongs to a different run.
        """
        if not self.path.exists():
            return None
        try:
            content = read_tensors(self.path)
        except WeightsError as error:
            raise ResumeError(f"{error}\ndelete {self.path} to restart") from error
        if content.get("fingerprint") != self._run:
            raise ResumeError(
                f"{self.path}: belongs to a different run (fingerprint"
                f" {content.get('fingerprint')}, expected {self._run}); delete it to restart"
            )
        state: dict[str, Any] = content["state"]
        return state

    def others(self) -> list[Path]:
        """Saved states of other runs, whose parameters, data or code differ."""
        return sorted(path for path in self.path.parent.glob("*.pt") if path != self.path)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
