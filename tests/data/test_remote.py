"""Files on a web server that loses connections."""

import functools
import http.server
import threading

import awkward as ak
import pytest

from hepml.data import remote
from hepml.data.ntuples import open_file, open_tree
from hepml.errors import InputError


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves ranges of files, as web servers of collaborations do, and fails as it is told."""

    def do_GET(self):
        if not (self.server.folder / self.path.strip("/")).is_file():
            self.server.missed += 1
            self.send_error(404)
            return
        first, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")
        server, asked = self.server, (self.path, first)
        server.asked[asked] = server.asked.get(asked, 0) + 1
        content = (server.folder / self.path.strip("/")).read_bytes()
        first, last = int(first), min(int(last or len(content)), len(content) - 1)
        failing = server.asked[asked] <= server.failures and first >= server.after
        if failing and server.kind == "busy":
            self.send_error(503)
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(content[first : (first + last) // 2 if failing else last + 1])
        self.close_connection = failing

    def do_HEAD(self):
        path = self.server.folder / self.path.strip("/")
        self.server.missed += not path.is_file()
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(path.stat().st_size if path.is_file() else 0))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(name="server")
def _server(tmp_path, monkeypatch):
    """Serves the files of tmp_path on this machine."""
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.01, 0.02))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Ranges))
    server.folder, server.asked, server.missed = tmp_path, {}, 0
    server.kind, server.failures, server.after = "drop", 0, 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def read(url):
    with open_file(url) as file:
        chunks = list(open_tree(file, url, "tree").chunks({"pt", "part_px"}))
    return {n: ak.concatenate([c.arrays[n] for c in chunks]).tolist() for n in ("pt", "part_px")}


def test_files_are_read_over_http(tmp_path, server, ntuple, write_tree, capsys):
    path = write_tree(tmp_path / "a.root", ntuple(0, 50))
    assert read(f"{server.url}/a.root") == read(path)
    assert set(server.asked.values()) == {1}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["drop", "busy"])
@pytest.mark.parametrize("failures", [1, 3])
def test_lost_connections_change_nothing(
    tmp_path, server, ntuple, write_tree, capsys, kind, failures
):
    path = write_tree(tmp_path / "a.root", ntuple(0, 50))
    server.kind, server.failures = kind, failures
    assert read(f"{server.url}/a.root") == read(path)
    assert set(server.asked.values()) == {failures + 1}  # what came whole is not asked for again
    said = capsys.readouterr().err.splitlines()
    assert said
    assert all(line.startswith(f"{server.url}/a.root: ") for line in said)
    assert all("trying again in " in line for line in said)


@pytest.mark.parametrize("after", [0, 1])
def test_tries_have_an_end(tmp_path, server, ntuple, write_tree, after):
    """When the file is opened (at its first byte), and in the middle of it."""
    write_tree(tmp_path / "a.root", ntuple(0, 50))
    server.failures, server.after = 1000, after
    message = rf"^{server.url}/a\.root: not to be had over the network, given up after 4 tries in "
    with pytest.raises(InputError, match=message):
        read(f"{server.url}/a.root")
    assert max(server.asked.values()) == 4


def test_a_missing_file_is_said_at_once(server):
    with (
        pytest.raises(InputError, match=r"no\.root: no such file"),
        open_file(f"{server.url}/no.root"),
    ):
        pass
    assert server.missed == 1


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.01))
    with (
        pytest.raises(InputError, match=r"not to be had over the network, given up after 3 tries"),
        open_file("http://127.0.0.1:9/a.root"),
    ):
        pass


def test_by_default_half_a_minute_is_waited():
    assert sum(remote.PAUSES) == pytest.approx(31)
