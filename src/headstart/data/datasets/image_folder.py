"""A user's own images, in folders or a .zip of folders.

    train/<class>/**    with optional val/<class>/** and test/<class>/** (or test/*, unlabeled)
    <class>/**          without train/

boxes.tsv or boxes.csv beside these folders gives boxes of objects (box_table.py).

Without val/, `prepare` holds out `val_fraction` of each class's training images as val. Hidden
files are ignored; files without an image's extension are counted and ignored.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal
from unicodedata import normalize

from headstart.config.section import Fraction, LocalOrRemotePath, Section, Seed
from headstart.core.errors import UserError, did_you_mean
from headstart.data.datasets.base import Dataset, Record
from headstart.data.datasets.box_table import BOX_TABLES, read_boxes
from headstart.data.files.file_tree import FileTree, check, is_image, open_tree
from headstart.data.files.remote_tree import reads_at_once
from headstart.store.examples import ClassLabel


class ImageFolder(Section):
    """A user's own images.

    path: of the folder or .zip, or of a remote folder. val_fraction, seed: the share of each
    class's training images that becomes val where there is no val/, and the seed that chooses them.
    follow_links: whether links that lead out of `path` are followed.
    """

    name: Literal["image_folder"] = "image_folder"
    path: LocalOrRemotePath
    val_fraction: Fraction = 0.2
    seed: Seed = 0
    follow_links: bool = False

    def check(self) -> None:
        """Checks that the path is there; raises UserError otherwise."""
        check(self.path)

    def load(self) -> Dataset:
        """Lists the images below `path`; the name of a class's folder is its id and its name.

        Raises:
            UserError: there are no class folders, or one is empty; images lie outside of class
                folders; val or test has a class that train lacks; a folder beside train/ is none of
                the splits; links lead out of the folder; or its table of boxes is wrong.
        """
        source = _without_wrappers(open_tree(self.path, follow_links=self.follow_links))
        _check_folders(source)
        train = source.subtree("train/") if "train/" in source.names else source
        classes = _class_names(train)
        labels = {name: label for label, name in enumerate(classes)}
        prefix = "train/" if train is not source else ""
        records = [Record(prefix + name, label, "train") for name, label in _labeled(train, labels)]
        _check_none_is_empty(train, records, classes)
        has_val = bool(prefix) and "val/" in source.names
        if has_val:
            records += [
                Record(f"val/{name}", label, "val")
                for name, label in _labeled(source.subtree("val/"), labels)
            ]
        if prefix and "test/" in source.names:
            records += _test(source.subtree("test/"), labels)
        boxes = read_boxes(source, [record.id for record in records])
        records = [replace(record, boxes=boxes.get(record.id, ())) for record in records]
        files = [name for name in source.names if not name.endswith("/")]
        ignored = [name for name in files if not is_image(name) and name not in BOX_TABLES]
        return Dataset(
            classes=[ClassLabel(name, name) for name in classes],
            records=records,
            read=source.read,
            ignored=len(ignored),
            reads_at_once=reads_at_once(self.path),
            val_fraction=None if has_val else self.val_fraction,
            seed=self.seed,
        )


def _without_wrappers(source: FileTree) -> FileTree:
    """Returns the innermost tree: a .zip often has one top folder that contains all others."""
    while True:
        top = {name.split("/")[0] + "/" for name in source.names if "/" in name or is_image(name)}
        wraps = any(name.count("/") > 1 for name in source.names)
        if len(top) != 1 or top == {"train/"} or not wraps:
            return source
        inner = top.pop()
        for name in BOX_TABLES.keys() & source.names:
            raise UserError(
                f"{source.path / name} is not beside the class folders; move it to {inner}"
            )
        source = source.subtree(inner)


def _folders(source: FileTree) -> list[str]:
    """Returns the names of the folders at the top of `source`, without `/`."""
    return [name[:-1] for name in source.names if name.endswith("/") and name.count("/") == 1]


def _check_folders(source: FileTree) -> None:
    if "train/" not in source.names:
        if stray := {"val", "test"} & set(_folders(source)):
            raise UserError(
                f"{source.path} has {stray.pop()}/ but no train/; "
                "rename the training folder to train"
            )
        return
    for name in filter(is_image, source.names):
        split = name.split("/")[0]
        if split not in ("train", "val", "test"):
            hint = did_you_mean(split, ["val", "test"])
            raise UserError(f"{source.path}: '{name}' is in none of train/, val/, test/; {hint}")


def _class_names(train: FileTree) -> list[str]:
    # Unicode has several encodings of one name, and macOS and Linux choose different ones.
    names = sorted({normalize("NFC", folder) for folder in _folders(train)})
    if not names:
        raise UserError(f"{train.path} has no class folders; put images into <class>/")
    return names


def _labeled(source: FileTree, labels: dict[str, int]) -> Iterator[tuple[str, int]]:
    for name in filter(is_image, source.names):
        folder, _, rest = name.partition("/")
        if not rest:
            raise UserError(f"{source.path}: '{name}' is in no class folder; move it into one")
        folder = normalize("NFC", folder)
        if folder not in labels:
            hint = did_you_mean(folder, labels)
            raise UserError(f"{source.path}: train has no class '{folder}'; {hint}")
        yield name, labels[folder]


def _check_none_is_empty(train: FileTree, records: list[Record], classes: list[str]) -> None:
    used = {record.label for record in records}
    empty = [f"'{name}'" for label, name in enumerate(classes) if label not in used]
    if empty:
        raise UserError(
            f"{train.path}: no images in the class folders {', '.join(empty)}; "
            "add some or delete the folders"
        )


def _test(source: FileTree, labels: dict[str, int]) -> list[Record]:
    """Lists test images: labeled if they are in class folders, unlabeled if in none."""
    images = list(filter(is_image, source.names))
    unlabeled = [name for name in images if "/" not in name]
    if not unlabeled:
        return [Record(f"test/{name}", label, "test") for name, label in _labeled(source, labels)]
    if len(unlabeled) < len(images):
        raise UserError(
            f"{source.path} has images both in class folders and outside; "
            "put all test images into class folders or none"
        )
    return [Record(f"test/{name}", None, "test") for name in images]
