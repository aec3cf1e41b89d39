"""The review page in headless Chromium, against the service as a process."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.support.bundles import write_bundle
from tests.support.synthetic import draw_clip, draw_face, write_clip
from tests.support.watched_page import Watched, pixels, started

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = sync_api.expect
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"needs a browser: one of {NAMES}"),
]
ANSWER_MS = 60_000
FAKE_RGB = [180, 35, 24]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that flags every face as fake and accepts at most half a megapixel."""
    bundle = write_bundle(tmp_path_factory.mktemp("bundle"), bias=6.0)
    variables = {"INSWAPPER_MODEL_PATH": str(bundle), "INSWAPPER_MAX_IMAGE_PIXELS": "500000"}
    with started("/ready", **variables) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Chromium's sandbox does not run as root, which is the user in most containers.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Open pages; at the end none may have an error or a request to another host."""
    watched: list[Watched] = []

    def open_page(address: str, **context: Any) -> Watched:
        page = browser.new_context(**context).new_page()
        watched.append(Watched(page, address))
        page.goto(address)
        return watched[-1]

    yield open_page
    for one in watched:
        one.page.context.close()
    assert [one.errors for one in watched] == [[]] * len(watched)
    assert [one.elsewhere() for one in watched] == [[]] * len(watched)


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "<b>face & more.png"
    drawn = draw_face(3, height=260, width=320, face_px=110)
    path.write_bytes(cv2.imencode(".png", drawn.rgb[..., ::-1])[1].tobytes())
    return path


def give(page: Any, *paths: Path) -> Any:
    """Choose files and return the first card once all are processed."""
    page.set_input_files("#files", [str(path) for path in paths])
    expect(page.locator("#tally")).not_to_contain_text("pending", timeout=ANSWER_MS)
    return page.locator("article").first


def test_an_image_gets_its_verdict_and_boxes(
    opened: Callable[..., Watched], address: str, face: Path
) -> None:
    watched = opened(address)
    card = give(watched.page, face)
    with face.open("rb") as stream:
        answer = httpx.post(f"{address}/detect", files={"file": stream}, timeout=30).json()
    assert (answer["verdict"], len(answer["faces"])) == ("fake", 1)
    score = f"{answer['score']:.3f}"
    expect(card.locator("h3").first).to_have_text(face.name)
    expect(card.locator(".headline")).to_contain_text("Fake")
    expect(card.locator(".headline")).to_contain_text(f"Score {score}")
    faces = card.get_by_role("group", name="1 face")
    expect(faces).to_contain_text("suspicious from 0.500, fake from 0.800")
    expect(card).to_contain_text(answer["model"]["sha256"])
    expect(card.get_by_role("img", name=re.compile(f"face 1: Fake, score {score}"))).to_be_visible()
    expect(watched.page.locator("#news")).to_contain_text("Looks like an INSwapper swap")
    canvas = card.locator("canvas")
    shown = pixels(canvas)
    scale = shown.shape[1] / answer["image"]["width_px"]
    left, top, _, bottom = (round(scale * v) for v in answer["faces"][0]["box_xyxy"])
    assert shown[(top + bottom) // 2, left, :3].tolist() == FAKE_RGB


def test_the_seam_map_can_be_shown_over_the_face(
    opened: Callable[..., Watched], address: str, face: Path
) -> None:
    card = give(opened(address).page, face)
    canvas = card.locator("canvas")
    plain = pixels(canvas)
    card.get_by_label("Show the seam map").check()
    expect(card).to_contain_text("Maximum: 0.")
    mapped = pixels(canvas)
    card.get_by_label("Stretch the colours").check()
    assert np.mean(mapped != plain) > 0.1
    assert np.any(pixels(canvas) != mapped)
    card.get_by_label("Show the seam map").uncheck()
    assert np.array_equal(pixels(canvas), plain)


def test_errors_are_described_with_their_request_id(
    opened: Callable[..., Watched], address: str, tmp_path: Path
) -> None:
    text, large = tmp_path / "notes.png", tmp_path / "large.png"
    text.write_text("no image")
    large.write_bytes(cv2.imencode(".png", np.zeros((1000, 501, 3), np.uint8))[1].tobytes())
    page = opened(address).page
    give(page, text, large)
    first, second = page.locator("article").all()
    expect(first).to_contain_text("This file is not a supported image or video")
    expect(second).to_contain_text("This file exceeds a limit of the service")
    expect(second).to_contain_text("500000")
    for card in (first, second):
        expect(card.locator("code")).to_have_text(re.compile("^[0-9a-f]{32}$"))
        expect(card.get_by_role("button", name="Try")).to_have_count(0)
    expect(page.get_by_role("alert")).to_contain_text("large.png")
    expect(page.locator("#tally")).to_have_text("2 files: 2 failed")


def test_a_service_that_is_not_ready_offers_another_try(
    opened: Callable[..., Watched], face: Path, tmp_path: Path
) -> None:
    absent = {"INSWAPPER_MODEL_PATH": str(tmp_path / "absent")}
    with started("/health", **absent) as address:
        watched = opened(address)
        expect(watched.page.locator("#service")).to_contain_text("Service not ready")
        watched.page.clock.install()
        card = give(watched.page, face)
        again = card.get_by_role("button", name="Try")
        expect(again).to_be_disabled()
        expect(again).to_have_text(re.compile(r"Try again in \d+ s"))
        watched.page.clock.run_for(60_000)
        expect(again).to_have_text("Try again")
        with watched.page.expect_response("**/detect?*") as response:
            again.click()
        assert response.value.status == 503
        watched.page.close()


def test_the_keyboard_alone_is_enough(
    opened: Callable[..., Watched], address: str, face: Path
) -> None:
    page = opened(address).page
    # Interception begins with the first listener, and takes a moment: one in three runs missed it.
    page.on("filechooser", lambda _: None)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the results")).to_be_focused()
    page.keyboard.press("Tab")
    chooser = page.get_by_label("Choose files")
    expect(chooser).to_be_focused()
    with page.expect_file_chooser() as chosen:
        page.keyboard.press("Space")
    chosen.value.set_files(str(face))
    expect(page.locator("#tally")).to_have_text("1 file: 1 fake", timeout=ANSWER_MS)
    names = [focused(page, press=True) for _ in range(8)]
    assert names[:3] == ["Copy JSON", f"Remove {face.name}", "Show the seam map over the faces"]
    assert {"Show as a table", "1 face", "Face 1", "About this result"} <= set(names)
    page.locator("article button").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert '"verdict": "fake"' in page.evaluate("() => navigator.clipboard.readText()")
    focused(page, press=True)
    page.keyboard.press("Enter")
    expect(page.locator("article")).to_have_count(0)
    expect(page.locator("#results")).to_be_focused()


def focused(page: Any, *, press: bool) -> str:
    """Accessible name of the focused element, which must be visible."""
    if press:
        page.keyboard.press("Tab")
    outline, name = page.evaluate(
        """() => {
          const at = document.activeElement;
          const name = at.ariaLabel || at.labels?.[0]?.textContent || at.textContent;
          return [getComputedStyle(at).outlineStyle, name];
        }"""
    )
    assert outline != "none", f"the focus on {name!r} cannot be seen"
    return str(name)


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_files_can_be_dropped_and_pasted(
    opened: Callable[..., Watched], address: str, face: Path, event: str
) -> None:
    page = opened(address).page
    page.evaluate(
        """([event, values]) => {
          const carried = new DataTransfer();
          carried.items.add(new File([new Uint8Array(values)], "given.png", {type: "image/png"}));
          const made = event === "drop"
            ? new DragEvent(event, {dataTransfer: carried, bubbles: true, cancelable: true})
            : new ClipboardEvent(event, {clipboardData: carried, bubbles: true});
          document.body.dispatchEvent(made);
        }""",
        [event, list(face.read_bytes())],
    )
    expect(page.locator("#tally")).to_have_text("1 file: 1 fake", timeout=ANSWER_MS)


def test_a_video_is_followed_and_shown_over_time(
    opened: Callable[..., Watched], address: str, clip: Path
) -> None:
    watched = opened(address)
    card = give(watched.page, clip)
    sent = [(method, url.removeprefix(address)) for method, url in watched.requests]
    assert ("POST", "/detect/video?heatmap=true") in sent
    assert [url for _, url in sent if re.fullmatch(r"/jobs/[\w-]+/events", url)]
    expect(card.locator(".headline")).to_contain_text("highest scene")
    line = card.get_by_role("slider")
    assert line.get_attribute("aria-valuemax") == "12"
    line.focus()
    watched.page.keyboard.press("Home")
    expect(line).to_have_attribute("aria-valuenow", "1")
    watched.page.keyboard.press("ArrowRight")
    expect(line).to_have_attribute("aria-valuetext", re.compile("^Frame 2 of 12 .* scene 1: Fake"))
    watched.page.keyboard.press("PageDown")
    expect(line).to_have_attribute("aria-valuetext", re.compile("^Frame 7 of 12 .* scene 2: Fake"))
    box = line.bounding_box()
    line.click(position={"x": box["width"] - 15, "y": 40})
    expect(line).to_have_attribute("aria-valuenow", "12")
    video = card.locator("video")
    expect(video).to_have_js_property("seeking", False)
    assert video.evaluate("v => v.currentTime") == pytest.approx(28 / 25, abs=3 / 25)
    canvas = card.locator("canvas.over")
    expect(canvas).to_be_visible()
    assert (pixels(canvas)[..., :3] == FAKE_RGB).all(axis=-1).any()
    card.get_by_text("All sampled frames as a table (12)").click()
    expect(card.get_by_role("group", name="Sampled frames").locator("tbody tr")).to_have_count(12)
    tracks = card.get_by_role("group", name=re.compile("most alarming first"))
    expect(tracks.locator("tbody tr")).to_have_count(2)
    # The page has the result and deletes the job.
    assert [method for method, url in sent if url.startswith("/jobs/")][-1] == "DELETE"


def test_without_events_the_job_is_asked_for(
    opened: Callable[..., Watched], address: str, clip: Path
) -> None:
    watched = opened(address)
    watched.page.route("**/jobs/*/events", lambda route: route.fulfill(status=503))
    card = give(watched.page, clip)
    expect(card.get_by_role("slider")).to_have_attribute("aria-valuemax", "12")


def test_a_video_can_be_cancelled(
    opened: Callable[..., Watched], address: str, tmp_path: Path
) -> None:
    path = tmp_path / "long.mp4"
    write_clip(path, draw_clip(1, scenes=10, frames_per_scene=25, face_px=80))
    watched = opened(address)
    watched.page.set_input_files("#files", str(path))
    with watched.page.expect_request(re.compile(r"/jobs/[\w-]+/events$")) as followed:
        pass
    with watched.page.expect_response(lambda r: r.request.method == "DELETE") as forgotten:
        watched.page.get_by_role("button", name="Cancel").click()
    assert forgotten.value.status == 204
    expect(watched.page.locator("article")).to_contain_text("Cancelled")
    assert httpx.get(followed.value.url.removesuffix("/events")).status_code == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_the_page(
    opened: Callable[..., Watched], address: str, face: Path, clip: Path, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    page = opened(address, color_scheme=scheme, viewport=size).page
    give(page, face, clip)
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(value) for value in re.findall(r"\d+", ground)])
    assert (brightness < 128) == (scheme == "dark")
