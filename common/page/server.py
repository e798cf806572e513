"""The page's server: this machine alone, one secret address, fixed files, short bodies."""

import hmac
import json
import os
import secrets
import sys
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from common import cli
from common.batch.chips import ALL_HDUS
from common.batch.inputs import input_paths
from common.command import Call
from common.page.assets import STATIC, modules_of
from common.page.session import Bench, Busy, Session
from common.progress import events
from common.progress.output import plain, put

ADDRESS = "127.0.0.1"  # no other machine reaches it
# files of the page -> their type; nothing else is served from the disk
FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    **{name: (name, "text/javascript; charset=utf-8")
       for name in modules_of("start.js")},
}  # fmt: skip
MAX_BODY_BYTES = 2_000_000  # of a request; settings and outlines drawn by hand are far shorter
MAX_PATH_CHARACTERS = 512  # of a request
IDLE_SECONDS = 30  # that a client may take for a request
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
                               "img-src data:; connect-src 'self'; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}  # fmt: skip


class Refused(Exception):
    """A request that is not answered: status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Handler(BaseHTTPRequestHandler):
    """Answers one request after it was checked."""

    server: "PageServer"
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server_version, sys_version = "bgrem", ""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the address with the token belongs in no log."""

    def do_GET(self) -> None:
        """Give a file of the page, a plane, the state or the progress."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Start, cancel or save."""
        self._answer(self._post)

    def _get(self, name: str) -> None:
        session = self.server.session
        if name in FILES:
            file, kind = FILES[name]
            self._send(200, (STATIC / file).read_bytes(), kind)
        elif name in ("state", "job"):
            self._send_json(200, session.ask(name, {}))
        elif name.startswith("plane/"):
            try:
                data = session.plane(name.removeprefix("plane/"))
            except KeyError:
                raise Refused(404, "there is no such plane") from None
            self._send(200, data, "application/octet-stream")
        else:
            raise Refused(404, "there is no such page")

    def _post(self, name: str) -> None:
        content = self._body()
        if name not in ("run", "full", "cancel", "save"):
            raise Refused(404, "there is no such page")
        try:
            answer = self.server.session.ask(name, content)
        except FileExistsError as error:
            self._send_json(409, {"error": str(error), "exists": True})
        except Busy as error:
            self._send_json(409, {"error": str(error)})
        except (ValueError, OSError) as error:
            self._send_json(400, {"error": cli.describe_error(error)[1]})
        else:
            self._send_json(200 if name == "save" else 202, answer)

    def _answer(self, work: Any) -> None:
        try:
            work(self._checked())
        except Refused as refused:
            self.close_connection = True  # a body may be left
            self._send_json(refused.status, {"error": refused.reason})
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def _checked(self) -> str:
        """Return the path behind the token; `Refused` if host, origin or token are wrong."""
        if self.headers.get("Host") not in self.server.hosts:
            raise Refused(403, "this host is not served")
        origin = self.headers.get("Origin")
        allowed = {f"http://{host}" for host in self.server.hosts}
        if (origin is not None or self.command == "POST") and origin not in allowed:
            raise Refused(403, "this origin is not served")
        if self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Refused(403, "this origin is not served")
        if len(self.path) > MAX_PATH_CHARACTERS:
            raise Refused(414, "the address is too long")
        token, slash, name = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()) or not slash:
            raise Refused(403, "the token is wrong: open the address that the command prints")
        return name.partition("?")[0]

    def _body(self) -> dict[str, Any]:
        """Return the JSON object of a request."""
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "the body is no JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(411, "the length of the body is missing")
        if len(length) > 12 or int(length) > MAX_BODY_BYTES:
            raise Refused(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        try:
            content = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise Refused(400, "the body is no JSON") from None
        if not isinstance(content, dict):
            raise Refused(400, "the body is no JSON object")
        return content

    def _send_json(self, status: int, content: dict[str, Any]) -> None:
        text = json.dumps(plain(content), allow_nan=False)
        self._send(status, text.encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in (
            HEADERS | {"Content-Type": kind, "Content-Length": str(len(data))}
        ).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)


class PageServer(ThreadingHTTPServer):
    """A server for one session, on a free port."""

    daemon_threads = True

    def __init__(self, session: Session) -> None:
        super().__init__((ADDRESS, 0), Handler)
        self.session = session
        self.token = secrets.token_urlsafe(32)
        port = self.server_address[1]
        self.hosts = (f"{ADDRESS}:{port}", f"localhost:{port}")

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{self.hosts[0]}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away; others are errors of the program."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def one_input(call: Call) -> Path:
    """Return the one input of a call; ValueError if there are several, or several images in it."""
    paths = input_paths(call)
    if len(paths) != 1:
        raise ValueError(f"--preview: the page shows one image. Received: {len(paths)} inputs.")
    if any(getattr(one, "hdu", None) == ALL_HDUS for one in call.settings.values()):
        raise ValueError("--preview: the page shows one image. Name one HDU with --hdu.")
    return paths[0]


def serve(bench: Bench) -> int:
    """Serve the page until Ctrl-C and return the exit code."""
    session = Session(bench)
    call = bench.call
    with PageServer(session) as server:
        events.emit("info", topic="page", input=bench.path, page=server.url)
        if not call.args.json:
            put(f"{bench.path}: the page is at {server.url} (Ctrl-C ends it)")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            if _has_screen():
                webbrowser.open(server.url)
            threading.Event().wait()
        except KeyboardInterrupt:
            call.say("the page is closed")
        finally:
            server.shutdown()
            session.close()
    return cli.EXIT_DONE


def _has_screen() -> bool:
    """Return whether a browser would open in a window and not in the terminal."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
