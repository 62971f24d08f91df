"""Download of a large file over HTTP that resumes after an interruption and checks the content."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.request import Request, urlopen

from tqdm import tqdm

from headstart.core.errors import UserError

TIMEOUT_S = 30
CHUNK = 1 << 20


def download(url: str, path: Path, size: int, digest: str) -> None:
    """Downloads `url` to `path`, from where an earlier call stopped.

    An unfinished download is kept as `path`.part.
    size: of the file in bytes. digest: `md5:` or `sha256:` and the hexadecimal digest.

    Raises:
        UserError: the transfer failed (the received bytes are kept), or the content isn't the
            expected one (the received bytes are deleted).
    """
    part = path.with_name(f"{path.name}.part")
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    advice = f"run again to go on, or put the file there by hand: {path}"
    try:
        if not part.exists() or part.stat().st_size < size:
            _fetch(url, part, size)
    except (OSError, HTTPException) as error:
        raise UserError(f"{url} can't be downloaded ({error}); {advice}") from None
    received = part.stat().st_size
    if received < size:
        raise UserError(f"{url}: the transfer ended after {received} of {size} bytes; {advice}")
    received_digest = _digest(part, digest.partition(":")[0])
    if received_digest != digest:
        part.unlink()
        raise UserError(
            f"{url} gave {received} bytes with {received_digest}, not {size} bytes with {digest}; "
            f"try again, or put the right file there by hand: {path}"
        )
    part.replace(path)


def _fetch(url: str, part: Path, size: int) -> None:
    """Appends to `part` until the response ends or the file is longer than `size` bytes."""
    with _open_url(url, part.stat().st_size if part.exists() else 0) as (response, start):
        bar = tqdm(desc=part.stem, total=size, initial=start, unit="B", unit_scale=True)
        with bar, part.open("ab") as file:
            file.truncate(start)
            while file.tell() <= size and (chunk := response.read(CHUNK)):
                file.write(chunk)
                bar.update(len(chunk))


@contextmanager
def _open_url(url: str, start: int) -> Iterator[tuple[HTTPResponse, int]]:
    """Yields the response and the byte where it starts, 0 if the server doesn't support ranges."""
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urlopen(request, timeout=TIMEOUT_S) as response:
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        yield response, start if resumed else 0


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{found.hexdigest()}"
