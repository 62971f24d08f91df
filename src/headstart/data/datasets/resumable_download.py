"""One large file over HTTP: resumed after an interruption, checked, whole or absent."""

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


def download(url: str, path: Path, size: int, md5: str) -> None:
    """Fetches `url` to `path`; what an earlier call left in `path`.part is not fetched again.

    Raises:
        UserError: the transfer failed (what arrived is kept), or the content isn't the expected
            one (what arrived is deleted).
    """
    part = path.with_name(f"{path.name}.part")
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    by_hand = f"run again to go on, or put the file there by hand: {path}"
    try:
        if not part.exists() or part.stat().st_size < size:
            _fetch(url, part, size)
    except (OSError, HTTPException) as error:
        raise UserError(f"{url} can't be downloaded ({error}); {by_hand}") from None
    found = part.stat().st_size
    if found < size:
        raise UserError(f"{url}: the transfer ended after {found} of {size} bytes; {by_hand}")
    digest = _md5(part)
    if digest != md5:
        part.unlink()
        raise UserError(
            f"{url} gave {found} bytes with md5 {digest}, not {size} bytes with md5 {md5}; "
            f"try again, or put the right file there by hand: {path}"
        )
    part.replace(path)


def _fetch(url: str, part: Path, size: int) -> None:
    """Appends to `part` until the server ends, or the file is longer than it should be."""
    with _requested(url, part.stat().st_size if part.exists() else 0) as (response, start):
        bar = tqdm(desc=part.stem, total=size, initial=start, unit="B", unit_scale=True)
        with bar, part.open("ab") as file:
            file.truncate(start)
            while file.tell() <= size and (chunk := response.read(CHUNK)):
                file.write(chunk)
                bar.update(len(chunk))


@contextmanager
def _requested(url: str, start: int) -> Iterator[tuple[HTTPResponse, int]]:
    """The response from byte `start` on, or from 0 if the server knows no ranges."""
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urlopen(request, timeout=TIMEOUT_S) as response:
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        yield response, start if resumed else 0


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
