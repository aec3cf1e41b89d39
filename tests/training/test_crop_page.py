"""pipeline.training.review.crop_page: all crops are counted, and filters need no server."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.manifest import SplitRow
from pipeline.runtime.errors import ManifestError
from pipeline.training.review.crop_page import FACETS, render_crop_page
from tests.support.manifest_rows import crop_rows
from tests.support.split_rows import tables_of
from tests.support.synthetic import draw_face, write_rgb

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


def splits(root: Path) -> dict[str, list[SplitRow]]:
    """Two people per split, with one real and one fake video each, at three scales."""
    rows = [SplitRow(**row.model_dump(), group=row.identity_id) for row in crop_rows(4, frames=2)]
    for row in rows:
        write_rgb(root / row.context_path, draw_face(height=64, width=64, face_px=40).rgb)
    half = len(rows) // 2
    return {"train": rows[:half], "val": [], "test": rows[half:]}


def crops_of(html: str) -> list[dict[str, Any]]:
    (data,) = re.findall(r"^const CROPS = (.*);$", html, re.MULTILINE)
    found: list[dict[str, Any]] = json.loads(data)
    return found


def test_every_crop_is_listed_with_the_values_of_its_row(tmp_path: Path) -> None:
    given = splits(tmp_path)
    crops = crops_of(render_crop_page(tables_of(given), tmp_path, most=1000))
    assert len(crops) == sum(map(len, given.values()))
    first, row = crops[0], given["train"][0]
    assert dict(zip(FACETS, first["facets"], strict=True)) == {
        "split": "train",
        "type": "real",
        "scale": "1.1",
        "quality": "pristine",
        "boundary": "no seam",
        "source": "videos",
        "group": row.group,
    }
    assert (first["place"], first["face"]) == ("train.csv row 2", row.face_id)
    assert all(crop["image"] for crop in crops)


def test_images_show_all_scales_of_the_chosen_faces(tmp_path: Path) -> None:
    crops = crops_of(render_crop_page(tables_of(splits(tmp_path)), tmp_path, most=12))
    with_image = [crop for crop in crops if crop["image"]]
    assert 9 <= len(with_image) <= 15
    assert {crop["facets"][FACETS.index("scale")] for crop in with_image} == {"1.1", "1.5", "2"}


def test_the_page_loads_nothing_and_escapes_names(tmp_path: Path) -> None:
    given = splits(tmp_path)
    markup = "</script><script>alert(1)</script>"
    given["train"][0] = given["train"][0].model_copy(update={"group": markup})
    html = render_crop_page(tables_of(given), tmp_path, most=10)
    assert markup not in html
    assert crops_of(html)[0]["facets"][-1] == markup
    assert "http" not in re.sub(r'"[^"]*"', "", html)
    assert not re.search(r"<(link|script|img)[^>]+(src|href)=", html)


def test_errors_name_the_file(tmp_path: Path) -> None:
    given = splits(tmp_path)
    missing = given["train"][0]
    (tmp_path / missing.context_path).unlink()
    with pytest.raises(ManifestError, match=rf"{missing.face_id}: context_path .*not a readable"):
        render_crop_page(tables_of(given), tmp_path, most=1000)
    with pytest.raises(ManifestError, match="contain no crops; run `dvc repro split_groups`"):
        render_crop_page(tables_of({"train": []}), tmp_path, most=1)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=f"needs a browser: one of {NAMES}")
def test_filters_count_and_show(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    given = splits(tmp_path)
    path = tmp_path / "crops.html"
    path.write_text(render_crop_page(tables_of(given), tmp_path, most=1000), encoding="utf-8")
    errors: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        everything = len(given["train"]) + len(given["test"])
        assert page.locator("figure").count() == everything
        page.locator("select[name=split]").select_option("test")
        page.locator("select[name=scale]").select_option("1.5")
        wanted = [row for row in given["test"] if row.crop_scale == 1.5]
        assert page.get_by_role("status").inner_text().startswith(f"{len(wanted)} of {everything}")
        assert page.locator("figure").count() == len(wanted)
        page.reload()  # the filters are part of the URL
        assert page.locator("figure").count() == len(wanted)
        page.get_by_role("button", name="show all").click()
        assert page.locator("figure").count() == everything
        browser.close()
    assert errors == []
