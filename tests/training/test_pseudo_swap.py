from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from insightface.model_zoo.inswapper import INSwapper
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.runtime.errors import WeightsError
from pipeline.runtime.params import load_params
from pipeline.training.swaps.inswapper import ArcfaceEmbedder, InswapperGenerator
from pipeline.training.swaps.pseudo_swap import PseudoSwapper, align_bent, paste
from pipeline.training.swaps.recipe import SwapRecipe
from pipeline.views.paste import TEMPLATE, arcface_square, paste_alpha, paste_alpha_patch
from tests.support.swap_networks import write_arcface, write_inswapper

PARAMS = load_params().pseudo_swap
SWAPPER = PseudoSwapper(PARAMS)


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth shapes with fine detail, so that a 128-px paste is visible."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (6, 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    detail = rng.normal(0, 12, (height, width, 3))
    return np.clip(smooth + detail, 0, 255).astype(np.uint8)


def place(scale: float, degrees: float, x: float, y: float, bend: float = 0) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (TEMPLATE - 64) @ turn.T + [x, y]
    return (points + bend * np.random.default_rng(3).normal(0, 1, (5, 2))).astype(np.float32)


GOLDEN = {
    "upright": place(1.5, 0, 250, 190),
    "small": place(0.6, 5, 300, 120),
    "turned": place(1.9, 33, 240, 200, bend=4),
    "upside down": place(1.2, 170, 260, 210, bend=3),
    "leaves at the left": place(1.6, -12, 40, 180, bend=2),
    "leaves at a corner": place(2.2, 20, 440, 330, bend=5),
    "larger than the frame": place(4.5, 8, 250, 190),
}


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    # Smooth, because insightface rounds its matrix to float32, which moves edges by up to 1/32 px.
    return cv2.GaussianBlur(texture(128, 128, seed=5), (0, 0), 1.5)


@pytest.fixture(scope="module")
def inswapper_file(tmp_path_factory, face):
    return write_inswapper(tmp_path_factory.mktemp("onnx") / "inswapper.onnx", face)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return ArcfaceEmbedder(write_arcface(tmp_path_factory.mktemp("onnx") / "arcface.onnx"))


@pytest.fixture(scope="module")
def inswapper(inswapper_file):
    return INSwapper(str(inswapper_file))


def genuine(inswapper: INSwapper, rgb: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """The frame swapped by insightface's own class, which works in BGR."""
    target = SimpleNamespace(kps=keypoints)
    source = SimpleNamespace(normed_embedding=np.full(512, 512**-0.5, np.float32))
    return inswapper.get(rgb[..., ::-1].copy(), target, source)[..., ::-1]


def implied_mask(inswapper: INSwapper, keypoints: np.ndarray) -> np.ndarray:
    """Mask of at least half opacity in INSwapper's paste, from a black and a white frame."""
    black, white = np.zeros((380, 500, 3), np.uint8), np.full((380, 500, 3), 255, np.uint8)
    on_black = genuine(inswapper, black, keypoints).astype(float)
    on_white = genuine(inswapper, white, keypoints).astype(float)
    return (1 - (on_white - on_black).mean(axis=2) / 255) > 0.5


# scikit-image deprecates the `estimate` that insightface 2.1 calls.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", GOLDEN)
def test_the_paste_equals_that_of_insightface(name, inswapper, face):
    rgb, keypoints = texture(380, 500, seed=1), GOLDEN[name]
    matrix = arcface_square(keypoints)
    alpha, rect = paste_alpha_patch(matrix, 128, rgb.shape[:2])
    ours = paste(rgb, face, matrix, alpha, rect)
    theirs = genuine(inswapper, rgb, keypoints)
    assert np.abs(ours.rgb.astype(int) - theirs.astype(int)).max() <= 1
    assert (ours.rgb != theirs).mean() < 0.005
    expected, found = implied_mask(inswapper, keypoints), ours.alpha > 0.5
    assert (expected & found).sum() / (expected | found).sum() > 0.98


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_generator_equals_insightface(inswapper, inswapper_file, embedder):
    rgb, keypoints = texture(380, 500, seed=2), GOLDEN["turned"]
    generator = InswapperGenerator(inswapper_file, embedder)
    swap = generator.swap(rgb, keypoints, np.random.default_rng(0))
    assert np.abs(swap.rgb.astype(int) - genuine(inswapper, rgb, keypoints).astype(int)).max() <= 1
    assert_array_equal(swap.alpha, paste_alpha(arcface_square(keypoints), 128, (380, 500)))


def test_an_embedding_has_length_one_and_depends_on_the_face(embedder):
    rgb = texture(380, 500, seed=2)
    first, second = (embedder.embed(rgb, GOLDEN[name]) for name in ("upright", "turned"))
    assert_allclose(np.linalg.norm(first), 1, rtol=1e-5)
    assert first @ second < 0.99


def test_errors_name_missing_networks(tmp_path, embedder):
    with pytest.raises(WeightsError, match=r"inswapper_128\.onnx: not found"):
        InswapperGenerator(tmp_path / "inswapper_128.onnx", embedder)
    broken = tmp_path / "arcface.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match=r"arcface\.onnx: cannot be loaded"):
        ArcfaceEmbedder(broken)


def test_an_embedding_of_a_different_size_is_refused(inswapper_file):
    short = SimpleNamespace(embed=lambda _rgb, _keypoints: np.ones(128, np.float32))
    generator = InswapperGenerator(inswapper_file, short)
    with pytest.raises(WeightsError, match="128 values, the INSwapper network expects 512"):
        generator.apply(texture(200, 200, 1), place(1, 0, 100, 100), SwapRecipe())


@pytest.mark.parametrize("kind", ["square", "box", "hull", None])
@pytest.mark.parametrize("seed", range(4))
def test_a_swap_depends_on_its_generator_only(kind, seed):
    rgb, donor = texture(300, 320, seed=1), (texture(260, 260, seed=9), place(1.4, -8, 130, 130))
    keypoints, untouched = place(1.6, 10, 160, 150), texture(300, 320, seed=1)
    first = SWAPPER.swap(rgb, keypoints, np.random.default_rng(seed), donor, kind)
    again = SWAPPER.swap(rgb, keypoints, np.random.default_rng(seed), donor, kind)
    assert_array_equal(first.rgb, again.rgb)
    assert_array_equal(first.alpha, again.alpha)
    assert_array_equal(rgb, untouched)
    assert first.kind == again.kind
    assert kind in (None, first.kind)
    assert first.rgb.dtype == np.uint8
    assert first.alpha.dtype == np.float32
    assert first.alpha.min() >= 0
    assert first.alpha.max() <= 1
    assert_array_equal(first.rgb[first.alpha == 0], rgb[first.alpha == 0])


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("kind", ["square", "box", "hull"])
def test_every_placement_can_be_swapped(name, kind):
    rgb = texture(380, 500, seed=1)
    swap = SWAPPER.swap(rgb, GOLDEN[name], np.random.default_rng(1), kind=kind)
    assert (swap.rgb != rgb).any()
    assert swap.alpha.shape == rgb.shape[:2]


def test_a_face_outside_the_frame_changes_nothing():
    rgb = texture(200, 200, seed=1)
    swap = SWAPPER.swap(rgb, place(1, 0, 900, 900), np.random.default_rng(0))
    assert_array_equal(swap.rgb, rgb)
    assert not swap.alpha.any()


def test_the_plain_square_has_inswappers_mask():
    keypoints = place(1.6, 10, 160, 150)
    swap = SWAPPER.apply(texture(300, 320, 1), keypoints, SwapRecipe())
    assert_array_equal(swap.alpha, paste_alpha(arcface_square(keypoints), 128, (300, 320)))


def test_outlines_nest():
    rgb, keypoints = texture(300, 320, 1), place(1.6, 10, 160, 150)
    area = {
        kind: SWAPPER.apply(rgb, keypoints, SwapRecipe(kind=kind)).alpha.sum()
        for kind in ("square", "box", "hull")
    }
    assert 0.4 * area["square"] < area["hull"] < area["box"] < 1.1 * area["square"]


def test_a_recipe_can_be_shared_by_the_frames_of_a_clip():
    recipe = SWAPPER.draw(np.random.default_rng(3), "square")
    rgb = texture(300, 320, seed=1)
    moved = np.roll(rgb, (6, 9), axis=(0, 1))
    still = SWAPPER.apply(rgb, place(1.2, 0, 150, 140), recipe)
    later = SWAPPER.apply(moved, place(1.2, 0, 159, 146), recipe)
    # Warps round their coordinates to 1/32 px.
    assert_allclose(np.roll(still.rgb, (6, 9), axis=(0, 1)).astype(int), later.rgb, atol=3)


def test_the_kind_changes_nothing_else_in_a_recipe():
    square, box = (SWAPPER.draw(np.random.default_rng(7), kind) for kind in ("square", "box"))
    assert replace(box, kind="square") == square


def high_pass_std(rgb: np.ndarray) -> float:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 1)).std())


def test_the_paste_loses_detail_beyond_128_px():
    rgb, keypoints = texture(400, 400, seed=1), place(1.8, 0, 200, 200)
    centre = np.s_[150:250, 150:250]
    before = high_pass_std(rgb[centre])
    plain, boosted, lowered = (
        high_pass_std(SWAPPER.apply(rgb, keypoints, recipe).rgb[centre]) / before
        for recipe in (SwapRecipe(), SwapRecipe(size_px=512), SwapRecipe(low_pass_px=64))
    )
    assert lowered < 0.75 * plain
    assert plain < 0.6
    assert boosted > 1.5 * plain


def test_restoring_sharpens_and_softening_softens():
    rgb, keypoints = texture(400, 400, seed=1), place(1.8, 0, 200, 200)
    centre = np.s_[150:250, 150:250]
    soft, plain, restored = (
        high_pass_std(SWAPPER.apply(rgb, keypoints, recipe).rgb[centre])
        for recipe in (
            SwapRecipe(sharpen=-0.5),
            SwapRecipe(),
            SwapRecipe(size_px=256, restore=1.0, low_pass_px=127),
        )
    )
    assert soft < plain
    assert restored > soft


def test_the_black_border_is_optional():
    rgb = np.full((200, 200, 3), 200, np.uint8)
    matrix = arcface_square(place(1.5, 0, 20, 100))
    black = align_bent(rgb, matrix, SwapRecipe())
    mirrored = align_bent(rgb, matrix, SwapRecipe(mirror_border=True))
    assert black.min() == 0
    assert mirrored.min() == 200


def test_bending_moves_the_face_but_not_the_rim():
    rgb, matrix = texture(300, 300, seed=1), arcface_square(place(1.2, 0, 150, 150))
    straight = align_bent(rgb, matrix, SwapRecipe()).astype(int)
    bent = align_bent(rgb, matrix, SwapRecipe(bend_px=(2.0,) * 18)).astype(int)
    change = np.abs(bent - straight)
    assert change[40:88, 40:88].mean() > 5 * change[[0, -1]].mean()


def test_the_donor_is_used_only_if_the_recipe_has_use_donor():
    rgb, keypoints = texture(300, 320, 1), place(1.6, 0, 160, 150)
    donor = (texture(260, 260, seed=9), place(1.4, -8, 130, 130))
    alone = SWAPPER.apply(rgb, keypoints, SwapRecipe())
    ignored = SWAPPER.apply(rgb, keypoints, SwapRecipe(), donor)
    blended = SWAPPER.apply(rgb, keypoints, SwapRecipe(use_donor=True), donor)
    assert_array_equal(alone.rgb, ignored.rgb)
    change = np.abs(blended.rgb.astype(int) - alone.rgb)
    assert change[140:160, 150:170].mean() > 10
    assert_array_equal(alone.alpha, blended.alpha)


def test_a_hole_leaves_the_image_uncovered():
    holes = PARAMS.model_copy(update={"occlusion_frac": 1.0})
    recipe = PseudoSwapper(holes).draw(np.random.default_rng(0), "square")
    assert recipe.hole is not None
    rgb, keypoints = texture(300, 320, 1), place(1.6, 0, 160, 150)
    scale, corner = 1.6, np.array([160, 150]) - 64 * 1.6
    column, row = np.rint(np.array([recipe.hole.x, recipe.hole.y]) * scale + corner).astype(int)
    swap = SWAPPER.apply(rgb, keypoints, recipe)
    assert swap.alpha[row, column] < 0.01
    assert_allclose(swap.rgb[row, column].astype(int), rgb[row, column], atol=2)


def test_frequencies_of_the_kinds_follow_the_parameters():
    rng = np.random.default_rng(0)
    kinds = [SWAPPER.draw(rng).kind for _ in range(600)]
    assert kinds.count("hull") / 600 == pytest.approx(PARAMS.hull_frac, abs=0.04)
    assert kinds.count("box") / 600 == pytest.approx(PARAMS.box_frac, abs=0.04)
