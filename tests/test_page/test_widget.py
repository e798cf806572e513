"""The live page in a notebook: the same module, and messages in place of a server."""

import base64
import builtins
import json
import shutil
import subprocess

import numpy as np
import pytest
from waiting import wait_until

import bgoptimizer
import bgrem
from bgoptimizer import BackgroundConfig, correct_background, fit_background
from common import AstroImage, read_image
from common.page.assets import STATIC, body, joined_module, modules_of
from common.page.notebook import show_images
from common.page.plane import View

pytest.importorskip("anywidget", reason="NOT TESTED: the page in a notebook needs anywidget (pip)")
node = pytest.mark.skipif(
    shutil.which("node") is None, reason="NOT TESTED: the widget's module needs nodejs (apt-get)"
)
AREA = {"kind": "object", "shape": "ellipse", "x": 40, "y": 30, "rx": 12, "ry": 6, "angle": 30}


@pytest.fixture
def widget(frame, tmp_path):
    found = bgoptimizer.live_page(frame, tmp_path / "out", protect="strong")
    yield found
    found.close()


@pytest.fixture
def ask(widget, monkeypatch):
    """Send a message as the browser does; the answer and its bytes come back."""
    sent = []
    monkeypatch.setattr(
        type(widget), "send", lambda self, content, buffers=None: sent.append((content, buffers))
    )

    def ask(name, content=None):
        widget._handle_custom_msg({"id": "a-1", "name": name, "content": content or {}}, [])
        answer, buffers = sent.pop()
        assert answer["id"] == "a-1"
        return buffers[0] if buffers else answer

    return ask


def run_node(code):
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- the module ---


def test_the_widget_has_the_files_of_the_page_but_its_start():
    server, notebook = set(modules_of("start.js")), set(modules_of("widget.js"))
    assert server - notebook == {"start.js"}
    assert notebook - server == {"widget.js"}
    assert {one.name for one in STATIC.glob("*.js")} == server | notebook


@node
def test_the_joined_module_loads_and_shows_through_a_render_function():
    code = joined_module("widget.js")
    assert "import " not in "".join(line for line in code.splitlines() if line.startswith("import"))
    address = "data:text/javascript;base64," + base64.b64encode(code.encode()).decode()
    found = run_node(f"""
const widget = await import({json.dumps(address)});
console.log(JSON.stringify([Object.keys(widget), typeof widget.default.render]));
""")
    assert found == [["default"], "function"]


@node
def test_a_request_is_a_message_of_the_model_and_its_answer_comes_back():
    found = run_node(f"""
import {{ widgetLink }} from {json.dumps(STATIC.joinpath("link.js").as_uri())};
const sent = [];
let hear;
const model = {{ on: (kind, heard) => (hear = heard), off: () => (hear = null), send: (one) => sent.push(one) }};
const link = widgetLink(model);
const state = link.ask("state"), plane = link.plane("input"), save = link.ask("save", {{ values: {{ a: 1 }} }});
hear({{ id: sent[2].id, error: "x: exists already", exists: true }}, []);
hear({{ id: "of another view", answer: 0 }}, []);
hear({{ id: sent[0].id, answer: {{ name: "night" }} }}, []);
const bytes = new Uint8Array([9, 1, 2, 3, 4]).subarray(1);
hear({{ id: sent[1].id }}, [new DataView(bytes.buffer, 1, 4)]);
const refused = await save.catch((error) => [error.message, error.exists]);
const values = [await state, [...new Uint8Array(await plane)], refused];
link.end();
console.log(JSON.stringify([sent.map((one) => [one.name, one.content]), ...values, hear === null]));
""")  # noqa: E501 - JavaScript
    assert found == [
        [["state", {}], ["plane/input", {}], ["save", {"values": {"a": 1}}]],
        {"name": "night"}, [1, 2, 3, 4], ["x: exists already", True], True,
    ]  # fmt: skip


# --- Python ---


def test_the_state_and_the_planes_are_those_of_the_server(ask, widget, bench):
    state = ask("state")["answer"]
    assert (state["tool"], state["verb"]) == ("bgoptimizer", "Fit background")
    assert [one["value"] for one in state["form"] if one["name"] == "protect"] == ["strong"]
    assert (
        ask("plane/input") == View(name="input", label="Input", pixels=bench.image.pixels).encode()
    )


def test_python_reads_marks_settings_and_stretch_back(ask, widget):
    assert widget.settings == BackgroundConfig(protect="strong")
    assert widget.marks.areas == ()
    stretch = {"quantile": 0.9, "shadows": None, "midtones": 0.2, "linked": False}
    kept = {"values": {"operation": "divide"}, "marks": {"areas": [AREA], "points": [[5, 6, 3]]},
            "stretch": stretch}  # fmt: skip
    assert ask("keep", kept)["answer"] == {}
    assert widget.settings == BackgroundConfig(operation="divide", protect="strong")
    assert widget.marks.points == ((5, 6, 3),)
    assert widget.marks.draw("object", (90, 130)).sum() == pytest.approx(np.pi * 12 * 6, rel=0.05)
    assert widget.stretch == stretch


def test_the_fit_of_the_widget_is_that_of_python(ask, widget, frame):
    assert ask("run", {"values": {}, "marks": {"areas": [AREA]}})["answer"]["state"] == "running"
    wait_until(lambda: ask("job")["answer"]["state"] != "running")
    assert ask("job")["answer"]["state"] == "done"
    image = read_image(frame)
    objects = np.zeros((90, 130), bool)
    ask("keep", {"values": {}, "marks": {"areas": [AREA]}})
    objects |= widget.marks.draw("object", objects.shape)
    model = fit_background(image, widget.settings, objects=objects)
    wanted = correct_background(image, model).result.pixels
    assert np.array_equal(widget.pixels("result"), wanted)


@pytest.mark.parametrize(("name", "content", "words"), [
    ("keep", {"values": {"control_points": 2}, "marks": {}}, "control_points must be 4 or more"),
    ("keep", {"marks": {"areas": [AREA | {"kind": "else"}]}}, "an area has a kind"),
    ("run", {"marks": []}, "expected areas and points"),
    ("plane/else", {}, "there is no plane/else"), ("shutdown", {}, "there is no shutdown"),
])  # fmt: skip
def test_a_wrong_message_is_answered_in_one_line(ask, name, content, words):
    assert words in ask(name, content)["error"]


@pytest.mark.parametrize("message", [None, [], "state", {"id": 1}, {"id": 1, "content": []}])
def test_what_is_no_request_gets_no_answer(widget, monkeypatch, message):
    sent = []
    monkeypatch.setattr(type(widget), "send", lambda *one: sent.append(one))
    widget._handle_custom_msg(message, [])
    assert sent == []


def test_files_of_others_are_not_replaced(ask, widget, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "night3_bgPageParams.json").write_text("mine")
    answer = ask("save", {"values": {}, "marks": {}})
    assert answer["exists"]
    assert "exists already" in answer["error"]


def test_any_images_can_be_shown_and_marked(ask):
    before = AstroImage(np.random.default_rng(0).normal(100, 3, (40, 50)).astype(np.float32))
    page = show_images({"Raw": before, "Smooth": np.full((40, 50), 100.0)}, kinds={"area": "Area"})
    state = page._viewing.state()
    assert [(one["name"], one["label"]) for one in state["views"]] == [
        ("input", "Raw"), ("view1", "Smooth"),
    ]  # fmt: skip
    assert (state["verb"], state["form"], state["kinds"]) == ("", [], {"area": "Area"})
    assert page.settings is None
    with pytest.raises(ValueError, match="there are: input, view1"):
        page.pixels("result")


def test_images_of_two_frames_are_refused():
    with pytest.raises(ValueError, match="b: shape"):
        show_images({"a": np.ones((4, 5)), "b": np.ones((4, 6))})
    with pytest.raises(ValueError, match="no image"):
        show_images({})


def test_a_setting_that_is_none_is_refused(frame):
    with pytest.raises(ValueError, match="protekt is no setting"):
        bgoptimizer.live_page(frame, protekt="strong")


def test_the_page_of_denoise_has_its_settings(tmp_path, frame):
    page = bgrem.live_page(frame, tmp_path, steps=2, keep="sources")
    assert page.settings == bgrem.DenoiseConfig(steps=2, keep="sources")
    assert page._viewing.state()["verb"] == "Denoise"


def test_without_anywidget_one_line_says_what_to_install(frame, monkeypatch):
    import sys

    usual = builtins.__import__

    def without(name, *more, **further):
        if name == "anywidget":
            raise ImportError("No module named 'anywidget'", name="anywidget")
        return usual(name, *more, **further)

    monkeypatch.delitem(sys.modules, "common.page.widget", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"needs the package anywidget: pip install anywidget\.$"):
        bgoptimizer.live_page(frame)


# --- the browser: JavaScript and Python together, the model between them a stand-in ---

NOTEBOOK = """<!doctype html><title>Notebook</title><style>button { display: none }</style>
<div id="one"></div><div id="two"></div>"""
SHOW = """
async ({ code, body, styles, place }) => {
  const { default: widget } = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const heard = new Set();
  window.answer = window.answer ?? {};
  const model = {
    get: (name) => ({ body, styles })[name],
    on: (kind, hear) => heard.add(hear), off: (kind, hear) => heard.delete(hear),
    send: async (message) => {
      const [answer, data] = JSON.parse(await window.toPython(JSON.stringify(message)));
      const buffers = data ? [new DataView(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer)] : [];
      heard.forEach((hear) => hear(answer, buffers));
    },
  };
  await widget.render({ model, el: document.getElementById(place) });
}
"""  # noqa: E501 - JavaScript


@pytest.fixture
def page(chromium, widget, monkeypatch):
    sent = []
    monkeypatch.setattr(
        type(widget), "send", lambda self, content, buffers=None: sent.append((content, buffers))
    )

    def to_python(text):
        widget._handle_custom_msg(json.loads(text), [])
        answer, buffers = sent.pop()
        return json.dumps([answer, base64.b64encode(buffers[0]).decode() if buffers else None])

    page = chromium.new_page(viewport={"width": 1100, "height": 1500})
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.expose_function("toPython", to_python)
    page.set_content(NOTEBOOK)
    for place in ("one", "two"):  # one widget can be shown twice
        page.evaluate(SHOW, {"code": joined_module("widget.js"), "body": body(),
                             "styles": widget.styles, "place": place})  # fmt: skip
    page.wait_for_selector("#two .page[data-ready=yes]", timeout=300_000)
    yield page
    page.close()
    assert complaints == []


def test_in_a_notebook_what_is_drawn_and_set_comes_to_python(page, widget):
    one = page.locator("#one")
    one.locator("[data-tool=ellipse]").click()
    box = one.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=4)
    page.mouse.up()
    assert one.locator("#marks li").count() == 1
    assert page.locator("#two #marks li").count() == 0
    one.locator("#quantile").evaluate(
        "(it) => { it.value = 0.9; it.dispatchEvent(new Event('input')); }"
    )
    one.locator("[name=operation]").select_option(label="divide")
    page.wait_for_timeout(600)  # the page tells it a moment after the last change
    assert widget.settings.operation == "divide"
    assert widget.stretch["quantile"] == 0.9
    assert [area["shape"] for area in widget.marks.areas] == ["ellipse"]


def test_in_a_notebook_the_fit_is_shown_and_keys_stay_inside(page):
    heard = page.evaluate(
        "() => { window.heard = []; document.onkeydown = (e) => window.heard.push(e.key); }"
    )
    one = page.locator("#one")
    one.locator("#run").click()
    one.locator("#views button:has-text('Result')").wait_for(timeout=300_000)
    one.locator("#canvas").click()
    page.keyboard.press("d")
    page.keyboard.press("b")
    assert one.locator("#split").get_attribute("aria-pressed") == "true"
    assert page.evaluate("() => window.heard") == []
    assert heard is None
    assert one.locator("#histogram").evaluate(
        "(it) => it.getContext('2d').getImageData(0, 0, it.width, it.height).data.some((v) => v)"
    )
