"""Files that are whole or absent: written beside their place, then renamed into it.

What stood there before is replaced, never written into: DVC may have linked it into its cache.
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


def write_text(path: Path, text: str) -> None:
    """`text` as UTF-8 at `path`; raises as `atomic_path` does."""
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(text.encode())


NUMBER = re.compile(r"[+-]?(\d+\.?\d*(e[+-]?\d+)?|inf|nan)", re.IGNORECASE | re.ASCII)
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""How a cell begins that a spreadsheet might compute: OWASP's list, CSV injection. Apostrophes
before it are ours."""


class Table:
    """Writes rows of tab-separated cells.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP
    recommends; `read_tsv` takes it away again. Numbers stay numbers.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        # Its own line end, \r\n, so that it quotes a cell that holds either of the two.
        self.writer = csv.writer(self, "excel-tab")

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n") + "\n")

    def writerow(self, cells: Iterable[Any]) -> None:
        self.writer.writerow([_inert(cell) for cell in cells])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        for row in rows:
            self.writerow(row)


@contextmanager
def tsv_writer(path: Path) -> Iterator[Table]:
    """A table that becomes `path`; raises as `atomic_path` does."""
    with (
        atomic_path(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as file,
    ):
        yield Table(file)


def read_tsv(path: Path) -> list[dict[str, str]]:
    """What `tsv_writer` wrote to `path`: the cells of each row by the names in the header.

    Raises:
        UserError: the file is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *body = ([_meant(cell) for cell in row] for row in csv.reader(file, "excel-tab"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None
    return [dict(zip(head, row, strict=True)) for row in body]


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def _meant(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(cell: str) -> bool:
    return bool(FORMULA.match(cell)) and not NUMBER.fullmatch(cell)
