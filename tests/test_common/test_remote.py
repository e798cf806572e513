"""Inputs and outputs at URLs: memory, HTTP, and S3 on this machine."""

import functools
import http.server
import json
import threading
from pathlib import Path

import pytest
from light_command import main as capitals
from printed_events import events_of

from common.batch import remote
from common.batch.remote import RemotePath, as_path, is_remote

fsspec = pytest.importorskip("fsspec", reason="pip install 'bgrem[remote]'")


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """A file system in memory with a.fits, b.fits and notes.txt in the folder night."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    for name, text in {"a.fits": "text a", "b.fits": "text b", "notes.txt": "none"}.items():
        system.pipe(f"/night/{name}", text.encode())
    yield system
    system.store.clear()
    assert list((tmp_path / "temp").iterdir()) == []


def names(system, folder):
    return sorted(Path(one).name for one in system.find(folder))


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s3://b/n/a.fits", "https://h.org/a.fits", "memory://n/a.fits"])
def test_a_url_stays_one_through_a_path(name):
    for path in (as_path(name), as_path(Path(name))):
        assert isinstance(path, RemotePath) and is_remote(path)
        assert str(path) == name and path.name == "a.fits"
        assert str(path.parent / "x.fits") == name.replace("a.fits", "x.fits")


@pytest.mark.parametrize("name", ["a.fits", "/n/a.fits", "n/a.fits", "C:/n/a.fits", "./a:b/c.fits"])
def test_other_names_are_of_this_machine(name):
    assert not is_remote(name) and isinstance(as_path(name), Path)


# --- a run ---------------------------------------------------------------------------------------


def test_a_remote_folder_goes_to_a_remote_folder(memory, capsys):
    assert capitals(["memory://night", "-o", "memory://out", "--json"]) == 0
    assert memory.cat("/out/a_capitals.fits") == b"TEXT A"
    assert names(memory, "/out") == [
        "a_capitals.fits", "a_capitalsParams.json", "b_capitals.fits", "b_capitalsParams.json"
    ]  # fmt: skip
    first, second = events_of(capsys.readouterr().out, "result")
    assert first["input"] == "memory://night/a.fits"
    assert first["outputs"]["result"] == "memory://out/a_capitals.fits"
    assert second["input"] == "memory://night/b.fits"


def test_remote_inputs_go_to_files_and_files_to_a_remote_folder(memory, capsys):
    assert capitals(["memory://night/*.fits", "-o", "here"]) == 0
    assert Path("here/b_capitals.fits").read_text() == "TEXT B"
    assert "memory://night/b.fits: wrote here/b_capitals.fits" in capsys.readouterr().out
    assert capitals(["here/a_capitals.fits", "-o", "memory://out"]) == 0
    assert memory.cat("/out/a_capitals_capitals.fits") == b"TEXT A"


def test_the_result_may_have_a_name_of_its_own(memory):
    assert capitals(["memory://night/a.fits", "-o", "memory://out/mine.fits"]) == 0
    assert names(memory, "/out") == ["mine.fits", "mine_capitalsParams.json"]


def test_errors_name_the_remote_file(memory, capsys):
    memory.pipe("/night/c.fits", b"fail no such luck")
    assert capitals(["memory://night", "memory://no.fits", "-o", "memory://out"]) == 1
    printed = capsys.readouterr()
    assert "memory://night/c.fits: no such luck" in printed.err
    assert "memory://no.fits: does not exist" in printed.err
    assert len(names(memory, "/out")) == 4
    assert ".bgrem" not in printed.err + printed.out


def test_an_existing_output_is_replaced_only_on_request(memory, capsys):
    words = ["memory://night/a.fits", "-o", "memory://out"]
    assert capitals(words) == 0
    memory.pipe("/night/a.fits", b"other")
    assert capitals(words) == 2
    assert "memory://out/a_capitals.fits: exists already" in capsys.readouterr().err
    assert memory.cat("/out/a_capitals.fits") == b"TEXT A"
    assert capitals([*words, "--overwrite"]) == 0
    assert memory.cat("/out/a_capitals.fits") == b"OTHER"


def test_where_one_file_cannot_be_sent_none_is_left(memory, monkeypatch, capsys):
    put = type(memory).put_file

    def put_file(self, here, there, **options):
        if there.endswith(".json"):
            raise OSError("the line is cut")
        return put(self, here, there, **options)

    monkeypatch.setattr(type(memory), "put_file", put_file)
    assert capitals(["memory://night/a.fits", "-o", "memory://out"]) == 2
    printed = capsys.readouterr()
    assert "memory://out/a_capitalsParams.json" in printed.err and "cut" in printed.err
    assert "wrote" not in printed.out
    assert names(memory, "/out") == []


def test_elsewhere_a_file_is_renamed_into_place(memory, monkeypatch):
    monkeypatch.setattr(remote, "WHOLE_OBJECTS", ())
    moved = []
    move = type(memory).mv
    monkeypatch.setattr(
        type(memory), "mv", lambda self, old, new: (moved.append(old), move(self, old, new))
    )
    assert capitals(["memory://night/a.fits", "-o", "memory://out"]) == 0
    assert names(memory, "/out") == ["a_capitals.fits", "a_capitalsParams.json"]
    assert len(moved) == 2 and all(name.endswith(".part") for name in moved)


def test_resume_knows_remote_inputs_and_outputs(memory, capsys):
    words = ["memory://night", "-o", "memory://out", "--resume", "done.jsonl"]
    assert capitals(words) == 0
    assert [json.loads(line)["input"] for line in Path("done.jsonl").read_text().splitlines()] == [
        "memory://night/a.fits", "memory://night/b.fits"
    ]  # fmt: skip
    capsys.readouterr()
    assert capitals(words) == 0
    assert capsys.readouterr().out.count("is done already") == 2
    memory.rm("/out/a_capitals.fits")
    memory.pipe("/night/b.fits", b"text of another length")
    assert capitals([*words, "--overwrite"]) == 0
    assert "is done already" not in capsys.readouterr().out


def test_a_protocol_without_its_package_is_one_line(memory, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    assert capitals(["memory://night/a.fits", "-o", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert remote.INSTALL in line


def test_what_needs_files_of_this_machine_refuses_urls(memory, capsys):
    from bgoptimizer.cli import main

    words = ["memory://night/a.fits", "memory://night/b.fits", "-o", "out", "--sequence"]
    assert main(words) == 2
    assert "memory://night/a.fits" in capsys.readouterr().err


# --- HTTP and S3 ---------------------------------------------------------------------------------


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    """The address of a server on this machine that has a.fits."""
    pytest.importorskip("aiohttp", reason="*** pip install 'bgrem[remote]'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.fits").write_text("text a")
    handler = functools.partial(_Silent, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_input_comes_from_a_web_server(web, capsys):
    assert capitals([f"{web}/a.fits", "-o", "out"]) == 0
    assert Path("out/a_capitals.fits").read_text() == "TEXT A"
    assert capitals([f"{web}/no.fits", "-o", "out"]) == 2
    assert f"{web}/no.fits: does not exist" in capsys.readouterr().err


def test_nothing_is_written_to_a_web_server(web, capsys):
    assert capitals([f"{web}/a.fits", "-o", f"{web}/out"]) == 2
    assert "nothing can be written there" in capsys.readouterr().err


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A file system with the bucket `sky` on a server of this machine that speaks S3."""
    reason = "*** NOT TESTED: S3. pip install s3fs 'moto[s3]' flask flask-cors"
    pytest.importorskip("s3fs", reason=reason)
    moto = pytest.importorskip("moto.server", reason=reason)
    monkeypatch.chdir(tmp_path)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    system = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    system.mkdir("sky")
    for letter in "ab":
        system.pipe(f"sky/night/{letter}.fits", f"text {letter}".encode())
    yield system
    system.rm("sky", recursive=True)
    server.stop()


@pytest.mark.filterwarnings("ignore")  # of botocore and aiohttp, which are not ours
@pytest.mark.parametrize("jobs", [[], ["--jobs", "2"]])
def test_a_night_in_a_bucket(bucket, jobs, capsys):
    if jobs:
        pytest.importorskip("distributed", reason="pip install 'bgrem[dask]'")
    words = ["s3://sky/night", "-o", "s3://sky/clean", "--resume", "done.jsonl", *jobs]
    assert capitals(words) == 0
    assert bucket.cat("sky/clean/a_capitals.fits") == b"TEXT A"
    assert len(bucket.find("sky/clean")) == 4
    assert "s3://sky/night/b.fits: wrote s3://sky/clean/b_capitals.fits" in capsys.readouterr().out
    assert capitals(words) == 0
    assert capsys.readouterr().out.count("is done already") == 2
