"""pipeline.training.predict: one row a crop, in order, whatever the batches."""

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.preprocess import ImageU8
from pipeline.training.model import Detector, build_model
from pipeline.training.predict import predict_crops
from pipeline.training.store import FaceStore
from tests.packed_split import PREPROCESS, packed_split
from tests.test_model import params


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    return packed_split(tmp_path_factory.mktemp("split"), people=1, frames=2)


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return build_model(params(), PREPROCESS).eval()


def test_a_row_a_crop_with_the_manifests_columns(store: FaceStore, model: Detector) -> None:
    table = predict_crops(model, store, batch_size=5)
    assert table[store.table.columns].equals(store.table)
    quality = table[["p_quality0", "p_quality1", "p_quality2"]].to_numpy()
    np.testing.assert_allclose(quality.sum(axis=1), 1)
    with torch.inference_mode():
        crop = torch.from_numpy(PREPROCESS.to_input(store.crops(7)[None]))
        expected = torch.sigmoid(model(crop)["real_fake"].double())[0]
    assert table["p_real_fake"][7] == pytest.approx(float(expected), abs=1e-5)


def test_the_same_twice(store: FaceStore, model: Detector) -> None:
    pd.testing.assert_frame_equal(
        predict_crops(model, store, batch_size=4), predict_crops(model, store, batch_size=4)
    )


def test_rows_and_degradation_are_those_asked_for(store: FaceStore, model: Detector) -> None:
    def darker(crop: ImageU8) -> ImageU8:
        return crop // 2

    plain = predict_crops(model, store)
    some = predict_crops(model, store, rows=[5, 2])
    assert list(some.index) == [5, 2]
    np.testing.assert_allclose(
        some["logit_boundary"], plain.loc[[5, 2], "logit_boundary"], atol=1e-5
    )
    dark = predict_crops(model, store, rows=[5, 2], degrade=darker)
    assert (dark["logit_real_fake"] - some["logit_real_fake"]).abs().min() > 1e-3
