"""A Parquet file of features: one row per image, with the columns path, label and vector."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headstart.core.atomic_files import atomic_path

METADATA_KEY = "headstart"
"""In the file's metadata: JSON of what determines the features (architecture, digest of the
weights, preprocessing, precision, version of the extraction)."""

SPLIT_FOLDERS = ("train", "val", "test")


@contextmanager
def feature_table_writer(
    path: Path, width: int, dtype: str, provenance: dict[str, Any]
) -> Iterator[Callable[[Sequence[str], Sequence[str | None], np.ndarray], None]]:
    """A function that writes a row group of n images: paths, labels, and vectors [n, width].

    The file appears at `path` when the block ends without an error. dtype: float16 or float32.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    value_type = pa.from_numpy_dtype(dtype)
    schema = pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("vector", pa.list_(value_type, width), nullable=False),
        ],
        {METADATA_KEY: json.dumps(provenance)},
    )
    # A dictionary of distinct values makes vectors no smaller.
    with (
        atomic_path(path) as unfinished,
        pq.ParquetWriter(
            unfinished,
            schema,
            use_dictionary=["label"],  # pyright: ignore[reportArgumentType]
        ) as writer,
    ):

        def write(paths: Sequence[str], labels: Sequence[str | None], vectors: np.ndarray) -> None:
            flat = pa.array(np.ascontiguousarray(vectors, dtype).ravel())
            columns = [
                pa.array(paths, pa.string()),
                pa.array(labels, pa.string()),
                pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))

        yield write


def class_folders(names: Sequence[str]) -> list[str | None]:
    """The name of the class folder that each image lies in; None for one that lies in none.

    names: relative to the images' folder, with `/` between their parts. As in an `image_folder`,
    a class folder lies at the top, or in train/, val/ or test/ where there is a train/; a folder
    that holds all others is passed over.
    """
    folders = [name.split("/")[:-1] for name in names]
    while (
        len({parts[0] for parts in folders if parts}) == 1
        and all(len(parts) > 1 for parts in folders)
        and folders[0][0] != "train"
    ):
        folders = [parts[1:] for parts in folders]
    if any(parts[:1] == ["train"] for parts in folders):
        folders = [
            parts[1:] if parts[:1] and parts[0] in SPLIT_FOLDERS else [] for parts in folders
        ]
    return [normalize("NFC", parts[0]) if parts else None for parts in folders]
