"""pipeline.training.loop.resume: a saved state belongs to one run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.runtime.errors import ResumeError
from pipeline.training.loop.resume import ResumeFile, fingerprint


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "train.zarr"
    (folder / "c").mkdir(parents=True)
    (folder / "c/0").write_bytes(b"shard")
    (folder / "zarr.json").write_text("{}")
    return folder


def test_the_fingerprint_follows_params_data_code_and_torch(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def now(lr: float = 0.1, code: str = "a") -> str:
        return fingerprint({"train": {"lr": lr}}, [data], code)

    first = now()
    assert now() == first
    assert now(lr=0.2) != first
    assert now(code="b") != first
    monkeypatch.setattr(torch, "__version__", "0.0.0")
    assert now() != first
    monkeypatch.undo()
    (data / "c/0").write_bytes(b"other")
    assert now() != first


def test_a_renamed_file_changes_the_fingerprint(data: Path) -> None:
    first = fingerprint({}, [data], "a")
    (data / "c/0").rename(data / "c/1")
    assert fingerprint({}, [data], "a") != first


def test_a_saved_state_can_be_loaded(tmp_path: Path) -> None:
    file = ResumeFile("a" * 64, tmp_path)
    assert file.load() is None
    state: dict[str, Any] = {"model": {"weight": torch.arange(3.0)}, "history": [{"epoch": 1}]}
    file.save(state)
    loaded = ResumeFile("a" * 64, tmp_path).load()
    assert loaded is not None
    assert torch.equal(loaded["model"]["weight"], state["model"]["weight"])
    assert loaded["history"] == [{"epoch": 1}]
    file.delete()
    assert file.load() is None


def test_a_state_of_a_different_run_is_refused(tmp_path: Path) -> None:
    mine, other = ResumeFile("a" * 64, tmp_path), ResumeFile("b" * 64, tmp_path)
    other.save({"epoch": 3})
    assert mine.load() is None
    assert mine.others() == [other.path]
    other.path.rename(mine.path)
    with pytest.raises(ResumeError, match=r"belongs to a different run.*bbbb.*expected aaaa"):
        mine.load()


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    file = ResumeFile("a" * 64, tmp_path)
    file.path.write_bytes(b"half a file")
    with pytest.raises(ResumeError, match="to restart"):
        file.load()
