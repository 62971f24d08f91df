"""Files that are whole or absent: written beside their place, then renamed into it.

What stood there before is replaced, never written into: DVC may have linked it into its cache.
"""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from headstart.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in `path`'s folder, which is made; it becomes `path` if the body succeeds.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    # Processes on several hosts may share the folder, and their process ids.
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    except OSError as error:
        ours = error.filename in (None, *map(str, (unfinished, *path.parents)))
        if not ours or error.errno is None:
            raise  # the body failed to read something else
        reason = os.strerror(error.errno)
        raise UserError(
            f"can't write {path} ({reason}); make room or let yourself write there, and run again"
        ) from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def write(path: Path, text: str) -> None:
    """`text` as UTF-8 at `path`; raises as `replacing` does."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(text.encode())


@contextmanager
def table(path: Path) -> Iterator[Any]:
    """A csv.writer of tab-separated lines that become `path`; raises as `replacing` does."""
    with (
        replacing(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as file,
    ):
        yield csv.writer(file, "excel-tab", lineterminator="\n")
