"""Images whose bytes are in the Parquet files of a table, as on the Hugging Face hub."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.core.errors import UserError, first_line
from headstart.data.datasets.table_files import TableFile
from headstart.data.decoding import UnreadableImageError
from headstart.data.files.block_cache import BlockCache
from headstart.data.files.safe_reading import check_size, readable

MAX_ROW_GROUP_BYTES = 1 << 30
"""Limit on the size of a row group's images, which are read and held together."""


class _RowGroup(NamedTuple):
    file: int
    number: int


class EmbeddedImages:
    """The images of Parquet files.

    They are read one row group at a time, so reading is fast in the order of the rows.
    """

    def __init__(self, files: Sequence[TableFile], column: str, ids: Sequence[str]) -> None:
        """column: that holds the images. ids: of all rows, file after file.

        Raises:
            UserError: a row group is too large, or a file can't be read.
        """
        self._files, self._column = files, column
        self._rows = {id_: row for row, id_ in enumerate(ids)}
        self._groups: list[_RowGroup] = []
        sizes = []
        for position, file in enumerate(files):
            for number, (rows, size) in enumerate(_row_groups(file, column)):
                if size > MAX_ROW_GROUP_BYTES:
                    raise UserError(
                        f"dataset.path: row group {number} of {file.path} holds images of "
                        f"{size:,} bytes, which are read together; write the file with row groups "
                        "of about 100 rows"
                    )
                self._groups.append(_RowGroup(position, number))
                sizes.append(rows)
        self._starts = [0, *accumulate(sizes)]
        self._blocks = BlockCache(self._load)

    def read(self, id_: str) -> bytes:
        """Returns the bytes of an image.

        Raises:
            UnreadableImageError: there are none, or too many.
            UserError: the file can't be read.
        """
        row = self._rows[id_]
        group = bisect_right(self._starts, row) - 1
        data = self._blocks[group][row - self._starts[group]].as_py()
        if data is None:
            raise UnreadableImageError("the table holds no bytes of it")
        check_size(len(data))
        return data

    def _load(self, group: int) -> pa.ChunkedArray:
        position, number = self._groups[group]
        path = self._files[position].path
        with readable(path), path.open("rb") as opened:
            try:
                file = pq.ParquetFile(opened)
                leaf = _leaf(file, self._column)
                return file.read_row_group(number, columns=[leaf]).flatten().column(0)
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"dataset.path: {path} is damaged: {first_line(error)}") from None


def _leaf(file: pq.ParquetFile, column: str) -> str:
    """Returns the name of the column of bytes: that of the images, or a part of it."""
    is_struct = pa.types.is_struct(file.schema_arrow.field(column).type)
    return f"{column}.bytes" if is_struct else column


def _row_groups(file: TableFile, column: str) -> list[tuple[int, int]]:
    """Returns the number of rows and of bytes of images of each row group."""
    with readable(file.path), file.path.open("rb") as opened:
        parquet = pq.ParquetFile(opened)
        leaf = _leaf(parquet, column)
        groups = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
        return [
            (
                group.num_rows,
                sum(
                    group.column(i).total_uncompressed_size
                    for i in range(group.num_columns)
                    if group.column(i).path_in_schema == leaf
                ),
            )
            for group in groups
        ]
