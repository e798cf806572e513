"""A page of a small frame, and a way to talk to its server."""

import http.client
import json
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from bgoptimizer import __version__, make_scene
from bgoptimizer.cli import COMMAND, build_parser
from bgoptimizer.page.bench import make_bench
from common import read_image
from common.command import Call
from common.page.server import PageServer
from common.page.session import Session

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOW = "NOT TESTED: the page in a browser needs chromium (apt-get) and playwright (pip)"
NOTHING_GIVEN = {"mask": None, "samples": None, "objects": None, "reference": None}


@pytest.fixture(scope="module")
def chromium():
    """A browser without a window."""
    if CHROMIUM is None:
        pytest.skip(HOW)
    playwright = pytest.importorskip("playwright.sync_api", reason=HOW)
    with playwright.sync_playwright() as running:
        # as root, which builds in containers are, Chromium runs without its sandbox only
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "night3.fits"
    scene = make_scene(7, shape=(90, 130), objects="nebula")
    fits.writeto(path, scene.observed[..., 0].astype(np.float32))
    return path


@pytest.fixture
def bench(frame, tmp_path):
    args = build_parser().parse_args([str(frame), "-o", str(tmp_path / "out"), "--preview"])
    call = Call(COMMAND, args, __version__, {}, lambda words: 0)
    return make_bench(call, frame, read_image(frame), NOTHING_GIVEN)


@pytest.fixture
def server(bench):
    with PageServer(Session(bench)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        server.session.close()
        thread.join()


@pytest.fixture
def ask(server):
    """Send a request as the page does; keywords change its parts."""

    def ask(path="state", body=None, *, token=None, host=None, origin="own", headers=(), raw=None):
        own = server.hosts[0]
        sent = {"Host": own if host is None else host}
        if body is not None or raw is not None:
            sent["Content-Type"] = "application/json"
        if origin is not None and (body is not None or raw is not None):
            sent["Origin"] = f"http://{own}" if origin == "own" else origin
        elif origin not in (None, "own"):
            sent["Origin"] = origin
        sent |= dict(headers)
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        where = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
        try:
            method = "GET" if data is None else "POST"
            target = f"/{server.token if token is None else token}/{path}"
            where.putrequest(method, target, skip_host=True)
            if data is not None and "Content-Length" not in sent:
                sent["Content-Length"] = str(len(data))
            for name, value in sent.items():
                where.putheader(name, value)
            where.endheaders(data)
            answer = where.getresponse()
            content = answer.read()
        finally:
            where.close()
        found = json.loads(content) if "json" in answer.headers["Content-Type"] else content
        return SimpleNamespace(status=answer.status, content=found, headers=answer.headers)

    return ask
