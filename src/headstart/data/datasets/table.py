"""A user's own images with a table of their labels: CSV, TSV, lines of JSON, or Parquet.

    file_name,label,split,patient
    scans/1.png,healthy,train,p17

The images are files that the table names, or in the table itself (Parquet). Where no column names
a split, the names of the table's files may: train-00000-of-00002.parquet, test/metadata.csv.
"""

from typing import Literal

from upath import UPath

from headstart.config.section import Fraction, LocalOrRemotePath, Section, Seed
from headstart.data.datasets.base import Dataset, Record
from headstart.data.datasets.class_labels import check_classes, find_labels
from headstart.data.datasets.embedded_images import EmbeddedImages
from headstart.data.datasets.row_problems import RowProblems
from headstart.data.datasets.table_files import (
    check_columns,
    find_tables,
)
from headstart.data.datasets.table_images import LocalImages, RemoteImages
from headstart.data.datasets.table_rows import embedded_ids, find_splits, located_ids, read_rows
from headstart.data.files.remote_tree import READS, reads_at_once
from headstart.store.examples import ClassLabel


class Table(Section):
    """A user's own images with a table of their labels.

    path: of the table; or of a folder that holds one, or a dataset of the Hugging Face hub. image,
    label, split, group: names of columns; the paths of the images, or the images themselves; the
    classes; train, val or test; what must stay together in all splits that `prepare` makes. folder:
    that the paths are relative to, by default that of the table. val_fraction, seed: the share of
    each class's training images that becomes val where no row is in val, and the seed that chooses
    them. follow_links: whether links that lead out of the folder are followed.
    """

    name: Literal["table"] = "table"
    path: LocalOrRemotePath
    image: str
    label: str
    split: str | None = None
    group: str | None = None
    folder: LocalOrRemotePath | None = None
    val_fraction: Fraction = 0.2
    seed: Seed = 0
    follow_links: bool = False

    def check(self) -> None:
        """Checks that the table is there and has the columns; raises UserError otherwise."""
        for file in find_tables(self.path):
            check_columns(file, self._columns)

    def load(self) -> Dataset:
        """Lists the images of the table.

        Raises:
            UserError: the table or a column is missing, or rows are wrong: no label, an unknown
                split, no such image, one outside of the folder, or one that another row names too;
                or a class has no image in train. All wrong rows are counted and the first are
                listed.
        """
        rows = read_rows(find_tables(self.path), self._columns)
        problems = RowProblems()
        splits = find_splits(rows, self.path, problems)
        classes, labels = find_labels(
            rows.cells("label"), splits, rows.class_names, problems, rows.place
        )
        if rows.is_embedded:
            ids = embedded_ids(rows)
            read, reads = EmbeddedImages(rows.files, self.image, ids).read, reads_at_once(self.path)
        else:
            images = self._images()
            ids = located_ids(rows, images, self.folder is None, problems)
            read = images.read
            is_remote = any("://" in id_ for id_ in ids)
            reads = READS if is_remote else reads_at_once(self.path)
        problems.stop_if_any(
            self.path, " (row 1 is the first line, that of the columns' names)" * rows.has_header
        )
        check_classes(self.path, classes, labels, splits)
        groups = rows.cells("group")
        return Dataset(
            classes=[ClassLabel(name, name) for name in classes],
            records=[
                Record(id_, label, split, group=group)
                for id_, label, split, group in zip(ids, labels, splits, groups, strict=True)
            ],
            read=read,
            reads_at_once=reads,
            val_fraction=None if "val" in splits else self.val_fraction,
            seed=self.seed,
        )

    @property
    def _columns(self) -> dict[str, str]:
        """The name of the column for each purpose that has one."""
        purposes = ("image", "label", "split", "group")
        return {p: name for p in purposes if (name := getattr(self, p)) is not None}

    def _images(self) -> LocalImages | RemoteImages:
        root = self.folder
        if root is None:
            root = self.path if self.path.is_dir() else self.path.parent
        return (
            RemoteImages(root) if isinstance(root, UPath) else LocalImages(root, self.follow_links)
        )
