"""Atomic writing: a file is written under a temporary name, then renamed into place.

An existing file is replaced, never written into, because DVC may have linked it to its cache.
"""

import csv
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from headstart.core.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which is renamed to `path` if the body succeeds.

    The folder is created if it is missing.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    # Processes on several hosts may share the folder, and their process ids.
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        output_failed = error.filename in (None, *map(str, (unfinished, *path.parents)))
        if not output_failed or error.errno is None:
            raise  # the body failed to read another file
        reason = os.strerror(error.errno)
        raise UserError(
            f"can't write {path} ({reason}); make room or allow writing there, and run again"
        ) from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` as UTF-8; raises what `atomic_path` raises."""
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(text.encode())


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*(e[+-]?\d+)?|inf|nan)", re.IGNORECASE | re.ASCII)
_FORMULA_START = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""The start of a cell that a spreadsheet might compute (OWASP, CSV injection). The optional
apostrophes before it are those that `TSVWriter` adds."""


class TSVWriter:
    """Writes rows of tab-separated cells.

    A text that a spreadsheet would take for a formula is prefixed with an apostrophe, as OWASP
    recommends; `read_tsv` removes it. Numbers stay as they are.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        # The csv module quotes cells that contain a character of its own line end: keep \r\n, so
        # that both \r and \n are quoted, and write \n.
        self.writer = csv.writer(self, "excel-tab")

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n") + "\n")

    def writerow(self, cells: Iterable[Any]) -> None:
        self.writer.writerow([_escape(cell) for cell in cells])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        for row in rows:
            self.writerow(row)


@contextmanager
def tsv_writer(path: Path) -> Iterator[TSVWriter]:
    """Yields a writer of the table at `path`; raises what `atomic_path` raises."""
    with (
        atomic_path(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as file,
    ):
        yield TSVWriter(file)


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Reads a table that `tsv_writer` wrote; returns one {column name: cell} dict per row.

    Raises:
        UserError: the file is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, "excel-tab"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None
    header, *rows = ([_unescape(cell) for cell in line] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _escape(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def _unescape(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(cell: str) -> bool:
    return bool(_FORMULA_START.match(cell)) and not _NUMBER.fullmatch(cell)
