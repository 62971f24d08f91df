"""What all readers of files share: a limit on their size, and errors in plain words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from upath import UPath

from headstart.core.errors import UserError, first_line
from headstart.data.decoding import UnreadableImageError

MAX_FILE_BYTES = 1 << 29
"""Limit on a file's size: images are smaller; a .zip member that unpacks to more is an attack."""


def bounded(file: IO[bytes], size: int) -> bytes:
    """Returns the content of a file of `size` bytes, and never reads more than one byte beyond.

    Raises:
        UnreadableImageError: the size is another one, or above the limit.
    """
    check_size(size)
    data = file.read(size + 1)
    if len(data) != size:
        raise UnreadableImageError(f"the file doesn't have the {size} bytes that it should have")
    return data


def check_size(size: int) -> None:
    """Raises UnreadableImageError if a file of `size` bytes is larger than any image."""
    if size > MAX_FILE_BYTES:
        raise UnreadableImageError(f"the file is larger than {MAX_FILE_BYTES} bytes")


@contextmanager
def readable(path: Path | UPath, key: str = "dataset.path") -> Iterator[None]:
    """Reports as a UserError what keeps the file or folder at `path` from being read.

    key: the key in params.yaml, for messages.
    """
    try:
        yield
    except (UserError, UnreadableImageError):
        raise
    except Exception as error:
        if isinstance(path, UPath):  # each driver of a remote file system has errors of its own
            raise UserError(f"{key}: {_remote_problem(path, error)}") from None
        if not isinstance(error, OSError):
            raise
        raise UserError(
            f"{key}: {error.filename or path} can't be read ({error.strerror}); "
            "give yourself permission to read it, or move it elsewhere"
        ) from None


def _remote_problem(path: UPath, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} doesn't exist"
    if isinstance(error, ImportError):
        driver = "`uv sync --extra s3`" if path.protocol == "s3" else f"its driver: {error}"
        return f"{path} can't be read: {path.protocol}:// needs {driver}"
    return (
        f"{path} can't be read ({type(error).__name__}: {first_line(error)}); check the address, "
        "your credentials and the network, and run again"
    )
