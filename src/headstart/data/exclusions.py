"""Images that the user leaves out of the dataset, listed in a table."""

from dataclasses import replace
from pathlib import Path

from headstart.core.atomic_files import read_tsv
from headstart.core.errors import UserError, did_you_mean
from headstart.data.datasets.base import Dataset


def load_excluded_ids(table: Path) -> set[str]:
    """Returns the ids in the column `id` of a tab-separated table; empty ones don't count.

    Raises:
        UserError: the file is missing, is no such table, or has no column `id`.
    """
    if not table.is_file():
        raise UserError(f"prepare.exclude: {table} is missing; give a table with a column 'id'")
    try:
        rows = read_tsv(table)
    except (ValueError, UnicodeDecodeError):
        raise UserError(
            f"prepare.exclude: {table} is no table: it needs a first line with the names of its "
            "columns, tabs between them, and as many cells in every line"
        ) from None
    if rows and "id" not in rows[0]:
        raise UserError(f"prepare.exclude: {table} has no column 'id', with tabs between columns")
    return {row["id"] for row in rows if row["id"]}


def exclude_images(dataset: Dataset, excluded: set[str]) -> Dataset:
    """Returns the dataset without the images of these ids.

    Raises:
        UserError: the dataset has no image of that id.
    """
    known = {record.id for record in dataset.records}
    if unknown := sorted(excluded - known):
        near = did_you_mean(unknown[0], known)
        raise UserError(
            f"prepare.exclude: {len(unknown)} ids are not in the dataset, the first of them "
            f"'{unknown[0]}'; {near}"
        )
    return replace(
        dataset, records=[record for record in dataset.records if record.id not in excluded]
    )
