"""pipeline.training.sample.sources: pinned files are checked, and photos cropped."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pipeline.runtime.errors import PackageError
from pipeline.training.sample.cast import ASTRONAUT, HOPPER, TABLE
from pipeline.training.sample.sources import (
    CastPhoto,
    Installed,
    PackageFile,
    read_image,
    read_origin,
    read_photo,
)


def test_files_of_installed_packages_are_checked() -> None:
    skimage = Installed("skimage")
    with pytest.raises(PackageError, match="not installed"):
        read_origin(PackageFile(Installed("no_such_package"), "a.png", "0" * 64))
    with pytest.raises(PackageError, match="not found in the installed package"):
        read_origin(PackageFile(skimage, "data/no_such_image.png", "0" * 64))
    with pytest.raises(PackageError, match="sha256"):
        read_origin(replace(ASTRONAUT, sha256="0" * 64))


@pytest.mark.parametrize("origin", [ASTRONAUT, HOPPER, TABLE], ids=lambda origin: origin.member)
def test_images_of_installed_packages_match_their_sha256(origin: PackageFile) -> None:
    rgb = read_image(origin)
    assert rgb.dtype == np.uint8
    assert min(rgb.shape[:2]) >= 500


def test_a_region_is_cut_out() -> None:
    whole = read_image(ASTRONAUT)
    cut = read_photo(CastPhoto(ASTRONAUT, (100, 20, 300, 260)))
    assert_array_equal(cut, whole[20:260, 100:300])
