import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from headstart.core.errors import UserError
from headstart.data.files.resumable_download import download

CONTENT = bytes(range(256)) * 5000
DIGEST = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class Server(HTTPServer):
    """Serves `content`; keeps the ranges that were asked for."""

    content = CONTENT
    ranges = True
    breaks_after: int | None = None
    asked: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/tiny.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        total = len(self.server.content)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and self.server.ranges:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
            start = 0
        body = self.server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as served:
        served.asked = []
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.zip"


def part(path: Path) -> Path:
    return path.with_name("tiny.zip.part")


def test_fetches_and_leaves_nothing_else(server: Server, path: Path):
    download(server.url, path, len(CONTENT), DIGEST)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["tiny.zip"]
    assert server.asked == [None]


def test_goes_on_where_a_transfer_was_cut_off(server: Server, path: Path):
    server.breaks_after = 400_000
    with pytest.raises(UserError, match="run again to go on, or put the file there by hand"):
        download(server.url, path, len(CONTENT), DIGEST)
    assert not path.exists()
    assert part(path).read_bytes() == CONTENT[:400_000]
    server.breaks_after = None
    download(server.url, path, len(CONTENT), DIGEST)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=400000-"]


def test_starts_over_where_the_server_knows_no_ranges(server: Server, path: Path):
    server.ranges = False
    part(path).write_bytes(b"some other beginning")
    download(server.url, path, len(CONTENT), DIGEST)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=20-"]


def test_a_whole_part_is_not_fetched_again(server: Server, path: Path):
    part(path).write_bytes(CONTENT)
    download(server.url, path, len(CONTENT), DIGEST)
    assert path.read_bytes() == CONTENT
    assert server.asked == []


def test_a_part_that_is_too_long_is_dropped(server: Server, path: Path):
    part(path).write_bytes(CONTENT + b"x")
    download(server.url, path, len(CONTENT), DIGEST)
    assert server.asked == [None]


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"x", CONTENT + b"more" * 1_000_000])
def test_wrong_content_is_refused_and_deleted(server: Server, path: Path, content: bytes):
    server.content = content
    with pytest.raises(UserError, match=rf"not {len(CONTENT)} bytes with {DIGEST}"):
        download(server.url, path, len(CONTENT), DIGEST)
    assert list(path.parent.iterdir()) == []


def test_a_damaged_part_is_not_resumed_for_ever(server: Server, path: Path):
    part(path).write_bytes(b"damaged")
    with pytest.raises(UserError, match="try again"):
        download(server.url, path, len(CONTENT), DIGEST)
    download(server.url, path, len(CONTENT), DIGEST)
    assert path.read_bytes() == CONTENT


def test_offline_names_the_url_and_the_way_by_hand(path: Path):
    url = "http://127.0.0.1:9/tiny.zip"
    with pytest.raises(UserError) as error:
        download(url, path, len(CONTENT), DIGEST)
    assert f"{url} can't be downloaded" in str(error.value)
    assert f"put the file there by hand: {path}" in str(error.value)
