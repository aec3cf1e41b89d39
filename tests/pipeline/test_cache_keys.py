"""Every parameter of a stage that keeps earlier work is in the key of its cache, but for a few."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.crops import cropping
from pipeline.frames import extraction
from pipeline.runtime.cache import StageCache, open_cache
from pipeline.runtime.params import load_params
from pipeline.runtime.sections import CropFacesParams, ExtractFramesParams
from pipeline.views.preprocess import Preprocess
from tests.support.imports import ROOT

PARAMS = load_params(ROOT / "params.yaml")
# How many bad videos are borne is asked after the work.
FREE_OF_FRAMES = {"max_skip_frac"}
# So are the quality thresholds, which all faces give together.
FREE_OF_CROPS = {"max_skip_frac", "quality_quantiles"}


class Opened(Exception):
    """The stage has opened its cache."""


def other(value: Any) -> Any:
    """Something else of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list | tuple):
        return type(value)(map(other, value))
    return value + 1


def recipe_of(module: Any, monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> str:
    """The digest under which a stage opens its cache; nothing is worked on."""
    opened: list[StageCache] = []

    def spy(*arguments: Any) -> StageCache:
        opened.append(open_cache(*arguments))
        raise Opened

    monkeypatch.setattr(module, "open_cache", spy)
    with pytest.raises(Opened):
        work()
    return opened[0].recipe


def frames_recipe(patch: pytest.MonkeyPatch, **changes: Any) -> str:
    params = PARAMS.extract_frames.model_copy(update=changes)
    return recipe_of(
        extraction, patch, lambda: extraction.extract_frames([], Path("frames"), params, 1)
    )


def crops_recipe(patch: pytest.MonkeyPatch, preprocess: Preprocess, **changes: Any) -> str:
    patch.setattr(cropping, "model_files", lambda *_, **__: [])  # of detectors that do not exist
    job = cropping.CropJob(
        PARAMS.crop_faces.model_copy(update=changes), preprocess, Path("crops"), None
    )
    return recipe_of(cropping, patch, lambda: cropping.crop_frames([], job, 1))


@pytest.mark.parametrize("name", ExtractFramesParams.model_fields)
def test_parameters_of_the_frames(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {name: other(getattr(PARAMS.extract_frames, name))}
    same = frames_recipe(monkeypatch, **changed) == frames_recipe(monkeypatch)
    assert same == (name in FREE_OF_FRAMES)


@pytest.mark.parametrize("name", CropFacesParams.model_fields)
def test_parameters_of_the_crops(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {name: other(getattr(PARAMS.crop_faces, name))}
    preprocess = Preprocess.from_params(PARAMS.preprocess)
    same = crops_recipe(monkeypatch, preprocess, **changed) == crops_recipe(monkeypatch, preprocess)
    assert same == (name in FREE_OF_CROPS)


@pytest.mark.parametrize("name", [field.name for field in fields(Preprocess)])
def test_the_preprocessing_of_the_crops(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess.from_params(PARAMS.preprocess)
    changed = replace(preprocess, **{name: other(getattr(preprocess, name))})
    # A larger scale needs a context that holds it.
    recipes = {crops_recipe(monkeypatch, p, context_scale=9.0) for p in (preprocess, changed)}
    assert len(recipes) == 2
