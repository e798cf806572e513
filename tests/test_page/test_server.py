"""The page's server: who gets an answer, what is served, what is kept."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bgoptimizer.cli import main
from common import read_image
from common.page.server import ADDRESS, MAX_BODY_BYTES

ELLIPSE = {"kind": "object", "shape": "ellipse", "x": 40, "y": 30, "rx": 12, "ry": 6}


def finished(ask):
    for _ in range(600):
        job = ask("job").content
        if job["state"] != "running":
            return job
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_the_page_is_served_on_this_machine_alone(server):
    assert server.server_address[0] == ADDRESS == "127.0.0.1"


def test_the_page_and_its_files_come_with_a_policy_that_allows_no_other_source(ask):
    for name in ("", "page.js", "page.css", "stretch.js"):
        answer = ask(name)
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_page_has_no_inline_script_and_no_address_of_elsewhere():
    from common.page.assets import STATIC

    for file in STATIC.iterdir():
        text = file.read_text("utf-8")
        assert "http://" not in text
        assert "https://" not in text
        assert " style=" not in text
        assert " onclick=" not in text
    assert STATIC.joinpath("page.html").read_text("utf-8").count("<script") == 1


@pytest.mark.parametrize("token", ["", "wrong", "0" * 43])
@pytest.mark.parametrize("path", ["", "state", "plane/input", "page.js"])
def test_without_the_token_nothing_is_served(ask, token, path):
    assert ask(path, token=token).status == 403


def test_a_token_is_not_the_next_one(bench):
    from common.page.server import PageServer
    from common.page.session import Session

    with PageServer(Session(bench)) as one, PageServer(Session(bench)) as other:
        assert one.token != other.token
        assert len(one.token) >= 43  # 256 bits in base 64


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "0.0.0.0:1"])
def test_another_host_is_refused_as_of_a_rebound_name(ask, host):
    assert ask("state", host=host).status == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", None])
def test_a_post_of_another_origin_or_of_none_is_refused(ask, origin):
    answer = ask("save", {"values": {}, "marks": {}}, origin=origin)
    assert answer.status == 403


def test_a_get_of_another_origin_or_site_is_refused(ask):
    assert ask("state", origin="http://evil.example").status == 403
    assert ask("state", headers=[("Sec-Fetch-Site", "cross-site")]).status == 403


@pytest.mark.parametrize("path", [
    "../session.py", "../../../setup.cfg", "%2e%2e/session.py", "static/../../server.py",
    "plane/../../state", "/etc/passwd", "page.html/../../server.py", "..%5Cserver.py", "plane/",
])  # fmt: skip
def test_no_path_leads_out_of_the_page(ask, path):
    assert ask(path).status == 404


def test_a_long_address_is_refused(ask):
    assert ask("a" * 600).status == 414


def test_a_long_body_is_refused_before_it_is_read(ask):
    headers = [("Content-Length", str(MAX_BODY_BYTES + 1))]
    assert ask("save", raw=b"{", headers=headers).status == 413
    assert ask("save", raw=b"{", headers=[("Content-Length", "9" * 400)]).status == 413


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(ask, raw):
    assert ask("save", raw=raw).status == 400


def test_a_form_of_another_page_cannot_post(ask):
    headers = [("Content-Type", "text/plain")]
    assert ask("save", raw=b"{}", headers=headers).status == 415


@pytest.mark.parametrize("marks", [
    [], {"areas": [{"kind": "object", "shape": "star"}]}, {"areas": [ELLIPSE | {"x": "1"}]},
    {"areas": [ELLIPSE | {"rx": 1e9}]}, {"areas": [ELLIPSE] * 3000}, {"points": [[1, 2]]},
    {"areas": [{"kind": "object", "shape": "polygon", "points": []}]},
    {"areas": [ELLIPSE | {"kind": "else"}]}, {"points": [[1, 2, None]]},
])  # fmt: skip
def test_marks_that_are_none_are_refused_in_one_line_and_nothing_is_written(ask, tmp_path, marks):
    answer = ask("save", {"values": {}, "marks": marks})
    assert answer.status == 400
    assert "marks" in answer.content["error"]
    assert not (tmp_path / "out").exists()


def test_a_wrong_setting_is_refused_in_the_words_of_the_command(ask):
    answer = ask("run", {"values": {"control_points": 2}, "marks": {}})
    assert answer.status == 400
    assert answer.content["error"] == "control_points must be 4 or more. Received: 2"


def test_many_clients_are_served_at_once(ask):
    found = []

    def look():
        found.append((ask("state").status, len(ask("plane/input").content)))

    threads = [threading.Thread(target=look) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 12
    assert {status for status, _ in found} == {200}
    assert len({size for _, size in found}) == 1


def test_a_silent_client_does_not_stop_the_others(ask, server):
    import socket

    with socket.create_connection(server.server_address[:2]) as silent:
        silent.sendall(b"GET /")
        assert ask("state").status == 200


def test_the_fit_gives_background_result_and_mask(ask):
    assert ask("run", {"values": {"protect": "strong"}, "marks": {}}).status == 202
    job = finished(ask)
    assert job["state"] == "done", job
    state = ask("state").content
    assert [one["name"] for one in state["views"]] == ["input", "background", "result", "mask"]
    for one in state["views"]:
        assert ask(f"plane/{one['name']}").status == 200


def test_what_the_page_fits_is_what_the_command_writes(ask, server, frame, tmp_path):
    marks = {"areas": [ELLIPSE], "points": [[100, 20, 5]]}
    content = {"values": {"protect": "strong"}, "marks": marks}
    ask("run", content)
    assert finished(ask)["state"] == "done"
    saved = ask("save", content).content["files"]
    assert main([str(frame), "-o", str(tmp_path / "again"), "--params", saved[0]]) == 0
    written = read_image(tmp_path / "again" / "night3_bgSubtracted.fits").pixels
    shown = server.session._views["result"].pixels
    assert np.array_equal(written, shown)


def test_saved_settings_have_the_values_and_the_files_of_what_is_drawn(ask, tmp_path):
    areas = [ELLIPSE, {"kind": "left_out", "shape": "brush", "points": [[5, 5], [5, 50]],
                       "radius": 3}]  # fmt: skip
    content = {"values": {"operation": "divide"},
               "marks": {"areas": areas, "points": [[100, 20, 5]]}}  # fmt: skip
    answer = ask("save", content)
    assert answer.status == 200
    out = tmp_path / "out"
    parameters = json.loads((out / "night3_bgPageParams.json").read_text())["parameters"]
    assert parameters["operation"] == "divide"
    objects = read_image(parameters["objects"]).pixels[..., 0]
    assert objects[30, 40] == 1
    assert objects.sum() == pytest.approx(np.pi * 12 * 6, rel=0.05)
    mask = read_image(parameters["mask"], zeros="data").pixels[..., 0]
    assert mask[30, 5] == 0
    assert mask[30, 12] == 1
    assert Path(parameters["samples"]).read_text().splitlines() == ["x,y,radius", "100.0,20.0,5.0"]


def test_files_of_others_are_not_replaced_unless_the_user_says_so(ask, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "night3_bgPageParams.json").write_text("mine")
    content = {"values": {}, "marks": {"areas": [ELLIPSE]}}
    answer = ask("save", content)
    assert answer.status == 409
    assert answer.content["exists"]
    assert [one.name for one in out.iterdir()] == ["night3_bgPageParams.json"]
    assert ask("save", content | {"overwrite": True}).status == 200
    assert ask("save", content).status == 200  # its own file now


def test_the_full_run_writes_what_the_command_writes(ask, tmp_path):
    content = {"values": {"protect": "weak"}, "marks": {}}
    assert ask("full", content).status == 202
    job = finished(ask)
    assert job["state"] == "done", job
    assert "night3_bgSubtracted.fits" in job["text"]
    parameters = json.loads((tmp_path / "out" / "night3_bgParams.json").read_text())["parameters"]
    assert parameters["protect"] == "weak"


def test_one_job_runs_at_a_time_and_can_be_cancelled(ask, server):
    import dataclasses

    going, cancelled = threading.Event(), []

    def work(config, marks, middle, report):
        going.set()
        try:
            for _ in range(1000):
                report(0.5, "working")
                time.sleep(0.01)
        except BaseException as stop:
            cancelled.append(type(stop).__name__)
            raise
        return [], []

    server.session.bench = dataclasses.replace(server.session.bench, work=work)
    content = {"values": {}, "marks": {}}
    assert ask("run", content).status == 202
    assert going.wait(10)
    assert ask("job").content["done"] == 0.5
    assert ask("run", content).status == 409
    assert ask("full", content).status == 409
    assert ask("cancel", {}).content["state"] == "cancelled"
    for _ in range(200):
        if cancelled:
            break
        time.sleep(0.01)
    assert cancelled == ["Stopped"]
    assert finished(ask)["state"] == "cancelled"


def test_a_failed_job_says_why(ask):
    ask("run", {"values": {"objective": "original", "threshold_min": 2.0}, "marks": {}})
    job = finished(ask)
    assert job["state"] == "failed"
    assert "all pixels are masked" in job["text"]


def test_several_inputs_have_no_page(frame, tmp_path, capsys):
    import shutil

    other = shutil.copy(frame, tmp_path / "night4.fits")
    assert main([str(frame), str(other), "-o", str(tmp_path / "out"), "--preview"]) == 2
    assert "the page shows one image" in capsys.readouterr().err
