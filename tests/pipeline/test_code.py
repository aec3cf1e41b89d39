"""pipeline.runtime.code: the code of a stage is listed in dvc.yaml and determines its digest."""

from pathlib import Path

import pytest

from pipeline.runtime.code import code_digest, stage_code
from pipeline.runtime.errors import PipelineError
from tests.support.imports import ROOT

DVC_YAML = """\
stages:
  train:
    cmd: python -m stages.train
    deps: [data/train.zarr, pipeline/network, stages/train.py]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("pipeline/network/parts", "pipeline/runtime", "stages"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    for name in ("network/model.py", "network/parts/head.py", "network/card.j2", "runtime/cli.py"):
        (tmp_path / "pipeline" / name).write_text("first")
    (tmp_path / "stages/train.py").write_text("first")
    return tmp_path


def test_the_code_is_the_script_and_the_declared_folders(repository: Path) -> None:
    found = [file.relative_to(repository).as_posix() for file in stage_code("train", repository)]
    assert found == [
        "pipeline/network/card.j2",
        "pipeline/network/model.py",
        "pipeline/network/parts/head.py",
        "stages/train.py",
    ]


def test_the_digest_depends_on_names_and_contents_of_the_code_only(repository: Path) -> None:
    def now() -> str:
        return code_digest("train", repository)

    seen = [now()]
    (repository / "pipeline/runtime/cli.py").write_text("second")
    (repository / "pipeline/network/__pycache__").mkdir()
    (repository / "pipeline/network/__pycache__/model.pyc").write_bytes(b"compiled")
    (repository / "pipeline/network/.model.py.swp").write_bytes(b"editor")
    assert now() == seen[0]
    for name in ("pipeline/network/card.j2", "pipeline/network/model.py", "stages/train.py"):
        (repository / name).write_text("second")
        seen.append(now())
    (repository / "pipeline/network/model.py").rename(repository / "pipeline/network/other.py")
    assert len({*seen, now()}) == 5


@pytest.mark.parametrize("stage", ["extract_frames", "crop_faces", "train", "export"])
def test_stages_that_digest_their_code_find_it(stage: str) -> None:
    assert ROOT / "stages" / f"{stage}.py" in stage_code(stage)


def test_an_unknown_stage_is_named(repository: Path) -> None:
    with pytest.raises(PipelineError, match=r"dvc.yaml: no stage 'nope' \(KeyError\)"):
        code_digest("nope", repository)
