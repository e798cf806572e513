"""The page in a real browser: headless Chromium, driven as a user would."""

import json

import numpy as np
import pytest

from bgoptimizer.cli import main
from bgoptimizer.guidance.files import read_objects
from common import MtfStretch, read_image

WAIT_MS = 300_000  # ms; a fit on a busy machine


@pytest.fixture
def page(chromium, server):
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    page.wait_for_selector("body[data-ready=yes]", timeout=WAIT_MS)
    page.asked, page.complaints = asked, complaints
    yield page
    page.close()
    assert complaints == []
    assert all(url.startswith((server.url, "data:")) for url in asked)


def set_slider(page, name, value):
    page.eval_on_selector(
        f"#{name}",
        "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }",
        str(value),
    )
    settle(page)


def settle(page):
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)))")


def grey_at(page, x, y, frame=(130, 90)):
    """The grey that the screen shows at a pixel of the frame."""
    return page.evaluate(
        """([x, y, width, height]) => {
          const canvas = document.querySelector("#canvas");
          const ratio = canvas.width / canvas.clientWidth;
          const zoom = 0.96 * Math.min(canvas.clientWidth / width, canvas.clientHeight / height);
          const u = canvas.clientWidth / 2 + (x - width / 2 + 0.5) * zoom;
          const v = canvas.clientHeight / 2 + (y - height / 2 + 0.5) * zoom;
          return canvas.getContext("2d").getImageData(u * ratio, v * ratio, 1, 1).data[0];
        }""",
        [x, y, *frame],
    )


def place_of(page, x, y, frame=(130, 90)):
    """Where a pixel of the frame lies in the window."""
    box = page.locator("#canvas").bounding_box()
    zoom = 0.96 * min(box["width"] / frame[0], box["height"] / frame[1])
    return (
        box["x"] + box["width"] / 2 + (x - frame[0] / 2 + 0.5) * zoom,
        box["y"] + box["height"] / 2 + (y - frame[1] / 2 + 0.5) * zoom,
    )


def drag(page, start, end):
    page.mouse.move(*place_of(page, *start))
    page.mouse.down()
    page.mouse.move(*place_of(page, *end), steps=6)
    page.mouse.up()


@pytest.mark.parametrize(("quantile", "midtones"), [(0.95, 0.25), (0.8, 0.25), (0.999, 0.5)])
def test_a_slider_moves_and_the_pixels_change_as_the_command_computes(
    page, frame, quantile, midtones
):
    set_slider(page, "shadows", 10.1)
    set_slider(page, "quantile", quantile)
    set_slider(page, "midtones", midtones)
    pixels = read_image(frame).pixels
    shown = MtfStretch.fit(pixels, quantile=quantile, target=midtones).forward(pixels)
    for x, y in ((10, 10), (64, 44), (100, 70), (3, 80)):
        assert grey_at(page, x, y) == pytest.approx(255 * shown[y, x, 0], abs=1.5)


def test_the_preview_is_sent_once(page):
    for value in (0.9, 0.8, 0.7):
        set_slider(page, "quantile", value)
    assert sum("plane/" in url for url in page.asked) == 1


def test_a_mask_that_is_drawn_ends_in_the_file_and_the_command_replays_it(page, frame, tmp_path):
    page.click("[data-tool=ellipse]")
    drag(page, (20, 30), (60, 50))
    page.click("#kinds [data-value=left_out]")
    page.click("[data-tool=brush]")
    drag(page, (100, 10), (100, 80))
    page.click("#kinds [data-value=object]")
    page.click("[data-tool=polygon]")
    for x, y in ((70, 60), (90, 60), (90, 80), (70, 60)):
        page.mouse.click(*place_of(page, x, y))
        page.wait_for_timeout(500)  # two quick clicks would be one double click
    page.click("[data-tool=point]")
    page.mouse.click(*place_of(page, 10, 80))
    assert page.locator("#marks li").count() == 4
    page.click("#save")
    page.wait_for_selector("#status:has-text('Saved')", timeout=WAIT_MS)

    file = tmp_path / "out" / "night3_bgPageParams.json"
    parameters = json.loads(file.read_text())["parameters"]
    objects = read_image(parameters["objects"]).pixels[..., 0]
    assert objects[40, 40] == 1
    assert objects[65, 85] == 1
    assert objects[5, 5] == 0
    assert objects.sum() == pytest.approx(np.pi * 20 * 10 + 200, rel=0.12)
    assert read_image(parameters["mask"], zeros="data").pixels[40, 100, 0] == 0
    words = [str(frame), "-o", str(tmp_path / "again"), "--params", str(file), "--quiet"]
    assert main(words) == 0


def test_an_ellipse_is_turned_and_stretched_saved_and_replayed(page, frame, tmp_path):
    page.click("[data-tool=ellipse]")
    drag(page, (40, 35), (80, 55))  # 20 x 10 px around 60, 45
    zoom = page.evaluate(
        "() => 0.96 * Math.min(canvas.clientWidth / 130, canvas.clientHeight / 90)"
    )
    drag(page, (80 + 24 / zoom, 45), (60, 75))  # its knob: a quarter turn
    assert page.inner_text("#marks li").startswith("Object: ellipse at 60, 45, -90°")
    drag(page, (50, 45), (54, 45))  # the end of what now is the horizontal half axis
    page.focus("#canvas")
    page.keyboard.press("]")
    page.keyboard.press("]")
    page.keyboard.press("]")
    set_slider(page, "angle", 30)
    assert page.inner_text("#marks li").startswith("Object: ellipse at 60, 45, 30°")
    page.keyboard.press("Control+z")
    assert page.inner_text("#marks li").startswith("Object: ellipse at 60, 45, -75°")
    page.click("#marks li .name")
    set_slider(page, "angle", 30)
    page.click("#save")
    page.wait_for_selector("#status:has-text('Saved')", timeout=WAIT_MS)
    file = tmp_path / "out" / "night3_bgPageParams.json"
    objects = read_image(json.loads(file.read_text())["parameters"]["objects"]).pixels[..., 0]
    region = tmp_path / "same.reg"
    region.write_text("image\nellipse(61, 46, 20, 6, 30)\n")
    wanted = read_objects(region, read_image(frame))
    assert (objects.astype(bool) != wanted).mean() < 0.005  # a pointer hits to half a pixel
    words = [str(frame), "-o", str(tmp_path / "again"), "--params", str(file), "--quiet"]
    assert main(words) == 0


def test_a_point_is_dragged_and_undone(page):
    page.click("[data-tool=point]")
    page.mouse.click(*place_of(page, 30, 30))
    assert page.inner_text("#marks li").startswith("Sky at 30, 30")
    drag(page, (30, 30), (90, 60))
    assert page.inner_text("#marks li").startswith("Sky at 90, 60")
    page.keyboard.press("Control+z")
    assert page.inner_text("#marks li").startswith("Sky at 30, 30")
    page.keyboard.press("Delete")


def test_the_fit_shows_its_views_and_blink_and_split_compare_them(page, server):
    page.click("#run")
    page.wait_for_selector("#views button:has-text('Result')", timeout=WAIT_MS)
    settle(page)
    result = grey_at(page, 12, 12)
    page.keyboard.down("b")
    settle(page)
    before = grey_at(page, 12, 12)
    page.keyboard.up("b")
    settle(page)
    assert grey_at(page, 12, 12) == result
    page.click("#views button:has-text('Input')")
    settle(page)
    assert grey_at(page, 12, 12) == before
    page.click("#views button:has-text('Result')")
    page.keyboard.press("d")
    settle(page)
    right = grey_at(page, 120, 80)
    assert grey_at(page, 12, 12) == before
    page.keyboard.press("d")
    settle(page)
    assert grey_at(page, 120, 80) == right


def test_thresholds_tint_what_lies_outside(page):
    page.click("#threshold-details summary")
    set_slider(page, "shadows", 10.1)
    set_slider(page, "high", 0)
    colour = page.evaluate(
        """() => { const c = document.querySelector("#canvas");
        return [...c.getContext("2d").getImageData(c.width / 2, c.height / 2, 1, 1).data]; }"""
    )
    assert colour[0] > colour[2] + 60  # amber


def test_a_setting_that_is_wrong_is_said_and_nothing_is_written(page, tmp_path):
    page.fill("[name=control_points]", "2")
    page.click("#save")
    page.wait_for_selector("#status.error")
    assert "control_points must be 4 or more" in page.inner_text("#status")
    assert not (tmp_path / "out").exists()
    page.complaints.clear()  # the browser notes the refused request itself


def test_all_controls_can_be_reached_and_a_mark_placed_with_the_keyboard(page):
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(
            "() => { const e = document.activeElement; return e.id || e.name || e.dataset.tool; }"
        ))  # fmt: skip
    wanted = {"canvas", "quantile", "shadows", "midtones", "run", "save", "full", "protect",
              "zoom-fit", "move"}  # fmt: skip
    assert wanted <= seen
    page.keyboard.press("e")
    page.focus("#canvas")
    page.keyboard.press("Enter")
    assert page.inner_text("#marks li").startswith("Object: ellipse at 65")


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (820, 1180)])
def test_nothing_is_cut_off_on_a_small_screen_or_a_tablet(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    settle(page)
    for name in ("run", "save", "full", "canvas", "quantile", "blink"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
