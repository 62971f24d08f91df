"""The files of a table: CSV, TSV, lines of JSON or Parquet; one file, or a folder as of a dataset
that was downloaded from the Hugging Face hub.

    metadata.csv (.jsonl, .parquet), in the folder or in train/, validation/, test/
    data/train-00000-of-00002.parquet, data/validation-00000-of-00001.parquet, …
    any other single table
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from upath import UPath

from headstart.core.errors import UserError, did_you_mean, first_line
from headstart.data.datasets.class_labels import several_labels
from headstart.data.files.file_tree import open_tree
from headstart.data.files.safe_reading import readable

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".parquet")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Names of Hugging Face `imagefolder`; the paths in them are relative to the folder they are in."""

_EMBEDDED = b"embedded"
"""Key in the metadata of a column of names of embedded images."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    name: relative to the dataset's folder, with `/` between its parts.
    """

    path: Path | UPath
    name: str

    @property
    def first_row(self) -> int:
        """The number that spreadsheets give the first row of values: row 1 names the columns."""
        return 2 if self.path.suffix.lower() in _DELIMITERS else 1


@dataclass(frozen=True)
class Columns:
    """The columns of a file that were asked for.

    cells: the text in them for each purpose, without spaces around it, None if empty. class_names:
    of the labels, if the file has them (Hugging Face's ClassLabel); the labels are then their
    positions. is_embedded: the images' bytes are in the file; `image` then holds their names, or
    None.
    """

    cells: dict[str, list[str | None]]
    class_names: list[str] | None
    is_embedded: bool


def find_tables(path: Path | UPath) -> list[TableFile]:
    """Returns the table at `path`, or those in the folder at `path`.

    Raises:
        UserError: there is none, or the folder has several that don't belong together.
    """
    with readable(path):
        is_folder, exists = path.is_dir(), path.exists()
    if not exists:
        raise UserError(f"dataset.path: {path} doesn't exist; name a table, or the folder of one")
    if not is_folder:
        if path.suffix.lower() not in EXTENSIONS:
            raise UserError(
                f"dataset.path: {path} is no table; one ends in {', '.join(EXTENSIONS)}"
            )
        return [TableFile(path, path.name)]
    names = open_tree(path).names
    tables = [name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS]
    metadata = [name for name in tables if PurePosixPath(name).name in METADATA]
    parquet = [name for name in tables if name.lower().endswith(".parquet")]
    chosen = metadata or parquet or tables
    if not chosen:
        raise UserError(f"dataset.path: {path} holds no table; one ends in {', '.join(EXTENSIONS)}")
    if chosen is tables and len(tables) > 1:
        raise UserError(
            f"dataset.path: {path} holds several tables: {', '.join(tables[:5])}; name one"
        )
    return [TableFile(path / name, name) for name in chosen]


def read_columns(file: TableFile, columns: Mapping[str, str]) -> Columns:
    """Reads columns of a file; the images' bytes are not read.

    columns: the name of the column for each purpose; a purpose is a key of `dataset` in
    params.yaml.

    Raises:
        UserError: the file can't be read or is damaged, columns are missing (all are named at
            once), or their values can't be what they are for.
    """
    check_columns(file, columns)
    with _opened(file) as opened:
        table = _read(file, opened, list(dict.fromkeys(columns.values())), columns["image"])
    image = table.schema.field(columns["image"])
    return Columns(
        {purpose: _text(file, purpose, table.column(name)) for purpose, name in columns.items()},
        _class_names(table.schema, columns["label"]),
        is_embedded=(image.metadata or {}).get(_EMBEDDED) is not None,
    )


def check_columns(file: TableFile, columns: Mapping[str, str]) -> None:
    """Checks that a file has the columns, by its first lines alone; raises as `read_columns`."""
    with _opened(file) as opened:
        names = _column_names(file, opened)
    problems = []
    for purpose, column in columns.items():
        if column not in names:
            hint = did_you_mean(column, names)
            problems.append(f"dataset.{purpose}: {file.path} has no column '{column}'; {hint}")
        elif names.count(column) > 1:
            problems.append(
                f"dataset.{purpose}: {file.path} has two columns '{column}'; rename one"
            )
    if problems:
        raise UserError("\n".join(problems))


def has_embedded_images(type_: pa.DataType) -> bool:
    """Returns whether a column holds images: bytes, or Hugging Face's {bytes, path}."""
    if pa.types.is_struct(type_):
        return "bytes" in [field.name for field in type_]
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


@contextmanager
def _opened(file: TableFile) -> Iterator[IO[bytes]]:
    """Opens a file; what pyarrow finds wrong in it becomes a UserError."""
    with readable(file.path), file.path.open("rb") as opened:
        try:
            yield opened
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # pyarrow's own have no number
                raise
            raise UserError(f"dataset.path: {file.path} is damaged: {first_line(error)}") from None


def _column_names(file: TableFile, opened: IO[bytes]) -> list[str]:
    match file.path.suffix.lower():
        case ".parquet":
            return pq.read_schema(opened).names
        case ".jsonl":
            with pyarrow.json.open_json(opened) as reader:
                return reader.schema.names
        case _:
            with pyarrow.csv.open_csv(opened, parse_options=_csv_format(file)) as reader:
                return reader.schema.names


def _read(file: TableFile, opened: IO[bytes], wanted: list[str], image: str) -> pa.Table:
    match file.path.suffix.lower():
        case ".parquet":
            return _read_parquet(pq.ParquetFile(opened), wanted, image)
        case ".jsonl":
            return pyarrow.json.read_json(opened).select(wanted)
        case _:
            return pyarrow.csv.read_csv(
                opened,
                parse_options=_csv_format(file),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
                ),
            )


def _csv_format(file: TableFile) -> pyarrow.csv.ParseOptions:
    delimiter = _DELIMITERS[file.path.suffix.lower()]
    return pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)


def _read_parquet(file: pq.ParquetFile, wanted: list[str], image: str) -> pa.Table:
    """Reads columns; of embedded images only their names, null where they have none."""
    type_ = file.schema_arrow.field(image).type
    if not has_embedded_images(type_):
        return file.read(columns=wanted)
    field = pa.field(image, pa.string(), metadata={_EMBEDDED: b""})
    columns = [name for name in wanted if name != image]
    if pa.types.is_struct(type_) and "path" in [part.name for part in type_]:
        table = file.read(columns=[*columns, f"{image}.path"])
        names = table.select([image]).flatten().column(0)
    else:
        table, names = file.read(columns=columns), pa.nulls(file.metadata.num_rows, pa.string())
    return table.select(columns).append_column(field, names)


def _text(file: TableFile, purpose: str, column: pa.ChunkedArray) -> list[str | None]:
    """Returns a column as text without spaces around it, None where that is empty."""
    type_ = column.type
    if pa.types.is_dictionary(type_):  # pandas' categories
        column = column.cast(type_.value_type)
    if purpose == "label" and (pa.types.is_list(type_) or pa.types.is_large_list(type_)):
        raise several_labels(f"dataset.label: {file.path}")
    if pa.types.is_floating(type_):
        column = _whole_numbers(file, purpose, column)
    try:
        cells = column.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        raise UserError(
            f"dataset.{purpose}: {file.path} has a column of {type_}, not text; name another"
        ) from None
    shared: dict[str, str] = {}  # of the million labels of a million rows few are different
    stripped = ((cell or "").strip() for cell in cells)
    return [shared.setdefault(cell, cell) if cell else None for cell in stripped]


def _whole_numbers(file: TableFile, purpose: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns whole numbers as such: a library that knows no empty integers writes 1 as 1.0."""
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        raise UserError(
            f"dataset.{purpose}: {file.path} has numbers with fractions there, which name no "
            "classes, splits or groups; name another column"
        ) from None


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """Returns the names that Hugging Face's ClassLabel gives the labels, if it does."""
    try:
        content = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = content["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError):
        return None
    return [str(name) for name in names]
