"""pipeline.training.review.ablation: every variant changes what it says, measured on everything."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.core.arrays import ImageU8
from pipeline.faces.detector import Face
from pipeline.runtime.errors import ManifestError
from pipeline.runtime.params import load_params
from pipeline.training.loop.train import TrainingInputs
from pipeline.training.review.ablation import (
    BASE,
    NETWORKS,
    TREES,
    Budget,
    SavedRuns,
    ablate,
    changed_params,
    gather,
)
from pipeline.training.review.genuine_set import CELLS, read_genuine
from pipeline.views.quality import fit_quality, measure_quality
from tests.support.packed_split import packed_split
from tests.support.synthetic import draw_face, swap_face, write_rgb
from tests.training.test_train import BACKBONE, tiny_params
from tests.training.test_weights import detector

BUDGET = Budget((1, 2), 1, 4, 4, 8, 4, (BASE, "hull_mask"), ("seam",))


class Drawn:
    """Knows where drawn faces lie."""

    name = "drawn"

    def __init__(self, faces: dict[tuple[int, ...], Face]) -> None:
        self._faces = faces

    def detect(self, rgb: ImageU8) -> list[Face]:
        found = self._faces.get(rgb.shape)
        return [found] if found else []


def genuine_folder(root: Path) -> tuple[Path, Drawn]:
    """Two people and their swaps, each image of a size of its own, and one without a face."""
    rows, faces = [], {}
    for person in range(2):
        drawn = draw_face(person, height=160, width=160 + 4 * person, face_px=80)
        swapped, _ = swap_face(drawn, person + 50)
        for label, rgb in ((0, drawn.rgb), (1, swapped)):
            name = f"{person}_{label}.png"
            write_rgb(root / name, rgb)
            rows.append({"image_path": name, "label": label})
        faces[drawn.rgb.shape] = Face(drawn.box_xyxy, drawn.keypoints, 0.9)
    empty = draw_face(9, height=150, width=150, face_px=80)
    write_rgb(root / "empty.png", empty.rgb)
    rows.append({"image_path": "empty.png", "label": 0})
    path = root / "labels.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["image_path", "label"])
        writer.writeheader()
        writer.writerows(rows)
    return path, Drawn(faces)


@pytest.mark.parametrize("name", [*NETWORKS, *TREES])
def test_every_variant_is_valid_and_changes_only_what_it_says(name: str) -> None:
    params = load_params()
    overrides = (NETWORKS | TREES)[name]
    base, changed = (
        changed_params(params, change, 3, BUDGET).model_dump() for change in ({}, overrides)
    )
    differing = {
        section: {key for key in base[section] if base[section][key] != changed[section][key]}
        for section in base
        if base[section] != changed[section]
    }
    assert set(differing) <= set(overrides)
    for section, keys in differing.items():
        assert keys <= set(overrides[section])
    assert changed["train"]["seed"] == 3
    assert changed["seam"]["seeds"] == [3]


def test_genuine_images_without_a_face_are_counted(tmp_path: Path) -> None:
    labels, drawn = genuine_folder(tmp_path)
    found = read_genuine(labels, drawn)
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert found.missed == 1


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image_path,label\nnone.png,1\n")
    with pytest.raises(ManifestError, match=r"row 2: image_path: cannot be read"):
        read_genuine(path, Drawn({}))


@pytest.mark.slow
def test_a_tiny_ablation_judges_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_WORKERS", "1")
    weights = tmp_path / "backbone.pth"
    torch.save(detector(5, BACKBONE).backbone.state_dict(), weights)
    learn = packed_split(tmp_path / "train", people=3, frames=2)
    val = packed_split(tmp_path / "val", people=2, frames=1, first_person=10)
    quality = fit_quality(
        [measure_quality(learn.context(f), learn.box(f)) for f in range(4)], (0.25, 0.05)
    )
    labels, drawn = genuine_folder(tmp_path / "genuine")
    lines: list[str] = []
    params = tiny_params(weights)
    kept = SavedRuns(tmp_path / "kept", params, BUDGET)
    material = gather(val, read_genuine(labels, drawn), BUDGET.val_faces)
    inputs = TrainingInputs(learn, val, quality)
    report = ablate(params, inputs, material, BUDGET, kept, workers=1, log=lines.append)
    parts = {BASE, "hull_mask", "seam", "fusion_learned", "fusion_learned_with_seam"}
    assert set(report["variant"]) == parts
    assert report["genuine"] == {"n_fake": 2, "n_real": 2, "missed": 1}
    for numbers in report["variant"].values():
        assert numbers["runs"] == 2
        assert set(numbers) == {"val", "runs", *CELLS}
        for cell in ("val", *CELLS):
            spread = numbers[cell]
            assert 0 <= spread["least"] <= spread["mean"] <= spread["greatest"] <= 1
    assert len(lines) == 2 * len(parts)
    again = ablate(params, inputs, material, BUDGET, kept, workers=1, log=lines.append)
    assert again == report
    assert len(lines) == 2 * len(parts), "kept runs were run again"


def test_runs_are_kept_apart_by_what_they_follow_from(tmp_path: Path) -> None:
    params = load_params()
    kept = SavedRuns(tmp_path, params, BUDGET)
    kept.keep("base", 2, {"val": 0.5})
    kept.keep("base", 1, {"val": 0.25})
    assert kept.has("base", 2)
    assert not kept.has("base", 3)
    assert kept.all() == {"base": [{"val": 0.25}, {"val": 0.5}]}
    other_seeds = replace(BUDGET, seeds=(9,), networks=(BASE,))
    assert SavedRuns(tmp_path, params, other_seeds).has("base", 1)
    assert not SavedRuns(tmp_path, params, replace(BUDGET, pairs=5)).has("base", 1)
    harder = params.model_copy(update={"train": params.train.model_copy(update={"lr": 0.5})})
    assert not SavedRuns(tmp_path, harder, BUDGET).has("base", 1)
