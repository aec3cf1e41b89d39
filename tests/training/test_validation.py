"""pipeline.training.loop.validation: the epoch's score from stored faces."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.runtime.params import Params, load_params
from pipeline.training.loop.losses import Balance
from pipeline.training.loop.validation import Validator, of_every_source
from pipeline.training.network.model import Detector, build_model
from pipeline.training.store.reader import FaceStore, image_of
from pipeline.views.cut import cut_views
from tests.support.packed_split import PREPROCESS as BOXES
from tests.support.packed_split import packed_split
from tests.training.test_model import params as model_params

BALANCE = Balance(0.5, 0.4, 0.3)
PREPROCESS = replace(BOXES, aligned=True)


def params(val_faces: int) -> Params:
    loaded = load_params()
    preprocess = {"size_px": PREPROCESS.size_px, "scales": list(PREPROCESS.scales)}
    return loaded.model_copy(
        update={
            "train": loaded.train.model_copy(update={"val_faces": val_faces}),
            "preprocess": loaded.preprocess.model_copy(update=preprocess),
        }
    )


class Oracle(Detector):
    """A detector that knows each view's label by its pixels, up to a factor."""

    def __init__(self, store: FaceStore, factor: float) -> None:
        super().__init__(model_params(), PREPROCESS)
        images = [image_of(store, face) for face in range(len(store.faces))]
        views = [cut_views(PREPROCESS, p.rgb, p.box_xyxy, p.keypoints) for p in images]
        inputs = PREPROCESS.to_input(np.concatenate(views))
        self.means = torch.from_numpy(inputs).mean(dim=(1, 2, 3))
        labels = torch.tensor(store.faces["label"].tolist()).repeat_interleave(len(views[0]))
        self.logits = factor * (2.0 * labels - 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        nearest = (x.mean(dim=(1, 2, 3))[:, None] - self.means).abs().argmin(dim=1)
        logit = self.logits[nearest]
        heads = dict.fromkeys(("real_fake", "inswapper", "boundary"), logit)
        return {**heads, "quality": torch.zeros(len(x), 3), "seam_map": torch.zeros(len(x), 32, 32)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    return packed_split(tmp_path_factory.mktemp("split"), people=2, frames=2)


def test_a_detector_that_knows_scores_one(store: FaceStore) -> None:
    right = Validator(store, params(99), BALANCE).run(Oracle(store, 4.0).eval())
    assert right["val_auc"] == 1
    assert right["val_product"] > 0.7  # recompressed reals may be mistaken for their neighbours
    middle = right["val_sweep"][9]
    assert (middle["threshold"], middle["recall"], middle["fpr"]) == (0.5, 1, 0)
    wrong = Validator(store, params(99), BALANCE).run(Oracle(store, -4.0).eval())
    assert wrong["val_auc"] == 0
    assert wrong["val_product"] == 0
    assert wrong["val_loss"] > right["val_loss"]


def test_the_same_detector_scores_the_same(store: FaceStore) -> None:
    torch.manual_seed(0)
    model = build_model(model_params(), PREPROCESS).eval()
    validator = Validator(store, params(4), BALANCE)
    assert validator.run(model) == validator.run(model)


def test_faces_are_limited_to_half_of_each_class(store: FaceStore) -> None:
    seen: list[int] = []

    class Counting(Oracle):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.append(len(x))
            return super().forward(x)

    Validator(store, params(4), BALANCE).run(Counting(store, 1.0).eval())
    assert sum(seen) == (2 + 2) * 4 + 2 * 4  # stored views of both classes, recompressed reals


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (99, {"a": 20, "b": 3, "c": 8}),
        (12, {"a": 5, "b": 3, "c": 4}),
        (6, {"a": 2, "b": 2, "c": 2}),
    ],
)
def test_every_source_gives_as_many_faces_as_it_can(
    store: FaceStore, count: int, expected: dict[str, int]
) -> None:
    sources = np.array(["a"] * 20 + ["b"] * 3 + ["c"] * 8 + ["d"] * 4)
    mixed = replace(store, faces=pd.DataFrame({"source": sources}))
    chosen = of_every_source(mixed, np.arange(31), count)  # none of d
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    found = {name: int((sources[chosen] == name).sum()) for name in expected}
    assert found == expected
    assert len(chosen) == sum(expected.values())
