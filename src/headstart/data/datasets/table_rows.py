"""The rows of a table: the split and the image of each, and what is wrong in them."""

from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from posixpath import dirname
from typing import NamedTuple

from headstart.core.errors import UserError
from headstart.data.datasets.row_problems import RowProblems
from headstart.data.datasets.split_names import DatasetSplit, parse_split, splits_in_names
from headstart.data.datasets.table_files import TableFile, read_columns
from headstart.data.datasets.table_images import LocalImages, RemoteImages


class TableRows(NamedTuple):
    """The rows of all files of a table, one file after another.

    lengths: the number of rows of each file. columns: the cells of each purpose. class_names,
    is_embedded: as those of `Columns`.
    """

    files: list[TableFile]
    lengths: list[int]
    columns: dict[str, list[str | None]]
    class_names: list[str] | None
    is_embedded: bool

    @property
    def has_header(self) -> bool:
        return any(file.first_row > 1 for file in self.files)

    def cells(self, purpose: str) -> list[str | None]:
        """Returns a column, None for each row if there is no such column."""
        return self.columns.get(purpose) or [None] * sum(self.lengths)

    def place(self, row: int) -> str:
        """Returns the file and the number of a row, as a person counts them."""
        for file, length in zip(self.files, self.lengths, strict=True):
            if row < length:
                in_file = f"{file.name}, " * (len(self.files) > 1)
                return f"{in_file}row {row + file.first_row}"
            row -= length
        raise AssertionError(f"there is no row {row}")

    def by_file(self) -> Iterator[tuple[TableFile, int]]:
        """Yields, for each row, its file and its position in the file."""
        for file, length in zip(self.files, self.lengths, strict=True):
            for position in range(length):
                yield file, position


def read_rows(files: list[TableFile], columns: Mapping[str, str]) -> TableRows:
    """Reads columns of all files of a table; `columns` and errors are those of `read_columns`.

    Raises:
        UserError: the files differ in their classes, or only some hold the images themselves.
    """
    parts = [read_columns(file, columns) for file in files]
    for file, part in zip(files, parts, strict=True):
        if part.class_names != parts[0].class_names or part.is_embedded != parts[0].is_embedded:
            raise UserError(
                f"dataset.path: {file.path} doesn't have the same classes, or the same kind of "
                f"images, as {files[0].path}; name a folder of files that belong together"
            )
    lengths = [len(part.cells["image"]) for part in parts]
    joined = {p: list(chain.from_iterable(part.cells[p] for part in parts)) for p in columns}
    return TableRows(files, lengths, joined, parts[0].class_names, parts[0].is_embedded)


def find_splits(rows: TableRows, path: object, problems: RowProblems) -> list[DatasetSplit]:
    """Returns the split of each row: of the column, else of the name of its file, else train.

    path: of the dataset; a table that it names itself says nothing by its name.
    """
    splits: list[DatasetSplit] = []
    if "split" in rows.columns:
        for row, word in enumerate(rows.cells("split")):
            try:
                splits.append(parse_split(word or ""))
            except ValueError as error:
                problems.add(rows.place(row), error if word else "there is no split")
                splits.append("train")
        return splits
    if len(rows.files) == 1 and rows.files[0].path == path:
        return ["train"] * sum(rows.lengths)
    of_files = splits_in_names([file.name for file in rows.files], str(path))
    for number, length in enumerate(rows.lengths):
        splits.extend(repeat(of_files[number] if of_files else "train", length))
    return splits


def embedded_ids(rows: TableRows) -> list[str]:
    """Returns `data/train-00000-of-00002.parquet/17/rose.jpg`: the file, the row, the name."""
    return [
        f"{file.name}/{position}" + (f"/{name}" if name else "")
        for (file, position), name in zip(rows.by_file(), rows.cells("image"), strict=True)
    ]


def located_ids(
    rows: TableRows, images: LocalImages | RemoteImages, are_beside: bool, problems: RowProblems
) -> list[str]:
    """Returns the id of each row's image; no two rows may name the same file.

    are_beside: whether paths are relative to the folder of the file of the table that holds them.
    """
    labels = rows.cells("label")
    first: dict[str, int] = {}
    ids = []
    for row, ((file, _), cell) in enumerate(zip(rows.by_file(), rows.cells("image"), strict=True)):
        try:
            if cell is None:
                raise ValueError("there is no path of an image")
            image = images.locate(dirname(file.name) if are_beside else "", cell)
            other = first.setdefault(image.identity, row)
            if other != row:
                differ = f"with two labels, '{labels[other]}' and '{labels[row]}'; delete one row"
                problem = differ if labels[other] != labels[row] else "twice; delete one row"
                raise ValueError(
                    f"'{cell}' is the image of {rows.place(other)}, so it is there {problem}"
                )
        except ValueError as error:
            problems.add(rows.place(row), error)
        else:
            ids.append(image.id)
    return ids
