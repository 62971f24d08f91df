"""The files of a dataset behind a URL: `s3://…`, `gs://…`, `https://…`, whatever fsspec reads.

Each image is read when it is needed and never stored on this machine's disk.
"""

from pathlib import Path

from upath import UPath

from headstart.core.errors import UserError
from headstart.data.decoding import UnreadableImageError
from headstart.data.files.safe_reading import MAX_FILE_BYTES, check_size, readable

READS = 32
"""How many images of a remote dataset are read at once, because each waits for the network."""


def reads_at_once(path: Path | UPath) -> int | None:
    """Returns how many images are read at once; None for as many as there are cores."""
    return READS if isinstance(path, UPath) else None


def has_listing(path: UPath) -> bool:
    """Returns whether the file system lists its folders; web servers don't."""
    return path.protocol not in ("http", "https")


def require_listing(root: UPath, key: str) -> None:
    """Raises UserError if the file system can't list the folder `root`."""
    if not has_listing(root):
        raise UserError(
            f"{key}: {root} is on a web server, which lists no folders; name a table of the images "
            "(`dataset.name: table`), or a single .tar (`dataset.name: webdataset`)"
        )


def remote_names(root: UPath, key: str) -> list[str]:
    """Returns the names of all files below `root` and of their folders, unsorted.

    key: the key in params.yaml, for messages.

    Raises:
        UserError: there is no such folder, it can't be read, or it can't be listed.
    """
    require_listing(root, key)
    with readable(root, key):
        top = root.path.rstrip("/") + "/"
        found = [path.removeprefix(top) for path in root.fs.find(top)]
        if not found:
            raise UserError(f"{key}: {root} doesn't exist, or is no folder with files in it")
    files = [name for name in found if not any(part.startswith(".") for part in name.split("/"))]
    return [*files, *folders_of(files)]


def folders_of(names: list[str]) -> set[str]:
    """Returns the folders that `names` lie in or are, at every depth; theirs end in `/`."""
    folders: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and f"{folder}/" not in folders:
            folders.add(f"{folder}/")
            folder = folder.rpartition("/")[0]
    return folders


def read_remote(path: UPath) -> bytes:
    """Returns the content of a file.

    Raises:
        UnreadableImageError: it is missing or too large.
        UserError: the network or the server fails, which says nothing about the image.
    """
    with readable(path):
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            raise UnreadableImageError("the file is missing") from None
    check_size(len(data))
    return data


def read_range(path: Path | UPath, start: int, size: int) -> bytes:
    """Returns `size` bytes of a file from `start` on, fewer at its end.

    Raises:
        UserError: the file can't be read.
    """
    with readable(path):
        if isinstance(path, UPath):
            return bytes(path.fs.cat_file(path.path, start=start, end=start + size))  # pyright: ignore
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)
