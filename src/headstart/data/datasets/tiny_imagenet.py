"""Tiny ImageNet in its official layout, from a folder or straight from the .zip.

200 classes; 500 training and 50 validation images of each and 10,000 unlabeled test images, 64 x
64 px, all but the test images with one box. http://cs231n.stanford.edu
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from headstart.config.section import Section
from headstart.core.errors import UserError
from headstart.data.datasets.base import Box, Dataset, Record
from headstart.data.files.file_tree import FileTree, check, is_image, open_tree
from headstart.data.files.resumable_download import download
from headstart.store.examples import ClassLabel

FOLDER = "tiny-imagenet-200"
URL = f"http://cs231n.stanford.edu/{FOLDER}.zip"
SIZE = 248_100_043
DIGEST = "md5:90528d7ca1a48142e341f4ef8d21d0de"


class TinyImageNet(Section):
    """Tiny ImageNet.

    path: the folder `tiny-imagenet-200`, a folder that holds it or its .zip, or the .zip. A folder
    that holds none of them gets the official archive.
    """

    name: Literal["tiny_imagenet"] = "tiny_imagenet"
    path: Path

    def check(self) -> None:
        """Checks that the path is there; raises UserError otherwise."""
        check(self.path)

    def load(self) -> Dataset:
        """Lists the images at `path`; downloads the official archive if they are not there.

        Raises:
            UserError: the dataset can't be found or downloaded, or its text files don't fit its
                images.
        """
        source = locate(self.path)
        classes = _classes(source.text("wnids.txt").split(), source.text("words.txt"))
        labels = {label.id: position for position, label in enumerate(classes)}
        images = [name for name in source.names if is_image(name)]
        test = [Record(name, None, "test") for name in images if name.startswith("test/images/")]
        records = [*_train(source, images, labels), *_val(source, images, labels), *test]
        return Dataset(classes, records, source.read)


def locate(path: Path) -> FileTree:
    """Returns the tree with wnids.txt at its root; downloads the archive if a folder lacks it."""
    if path.is_dir():
        for folder in (path, path / FOLDER):
            if (folder / "wnids.txt").is_file():
                return open_tree(folder)
        path = path / f"{FOLDER}.zip"
        if not path.exists():
            download(URL, path, SIZE, DIGEST)
    source = open_tree(path)
    for root in ("", f"{FOLDER}/"):
        if f"{root}wnids.txt" in source.names:
            return source.subtree(root)
    raise UserError(f"{path} has no {FOLDER}/wnids.txt, so it isn't the official archive")


def _classes(wnids: list[str], words: str) -> list[ClassLabel]:
    """Names each class by its first synonym, and by its wnid too if two classes share that one
    (crane: the bird, the machine).
    """
    synonyms = dict(line.split("\t", 1) for line in words.splitlines() if "\t" in line)
    names = [synonyms.get(wnid, wnid).split(",")[0].strip() for wnid in wnids]
    shared = Counter(names)
    return [
        ClassLabel(wnid, name if shared[name] == 1 else f"{name} ({wnid})")
        for wnid, name in zip(wnids, names, strict=True)
    ]


def _train(source: FileTree, images: list[str], labels: dict[str, int]) -> Iterator[Record]:
    """Yields a record for each image or annotation; `prepare` reports images that are missing."""
    boxes = {
        f"train/{wnid}/images/{file}": (box,)
        for wnid in labels
        for (file,), box in _rows(source, f"train/{wnid}/{wnid}_boxes.txt", 1)
    }
    present = {name for name in images if name.startswith("train/")}
    for name in sorted(present | boxes.keys()):
        wnid = name.split("/")[1]
        if wnid not in labels:
            raise UserError(f"{source.path}: wnids.txt doesn't name the class of {name}")
        yield Record(name, labels[wnid], "train", boxes.get(name, ()))


def _val(source: FileTree, images: list[str], labels: dict[str, int]) -> Iterator[Record]:
    annotated: set[str] = set()
    for (file, wnid), box in _rows(source, "val/val_annotations.txt", 2):
        name = f"val/images/{file}"
        annotated.add(name)
        if wnid not in labels:
            raise UserError(f"{source.path}: wnids.txt doesn't name {wnid}, the class of {name}")
        yield Record(name, labels[wnid], "val", (box,))
    for name in images:
        if name.startswith("val/images/") and name not in annotated:
            raise UserError(f"{source.path}: val/val_annotations.txt doesn't name {name}")


def _rows(source: FileTree, name: str, words: int) -> Iterator[tuple[list[str], Box]]:
    """Yields the first `words` columns of each line, and the box in the four columns after them.

    The archive names the first and the last pixel of a box: that of a whole image is 0, 0, 63, 63.
    """
    for number, line in enumerate(source.text(name).splitlines(), start=1):
        if not line:
            continue
        columns = line.split("\t")
        try:
            x0, y0, x1, y1 = map(int, columns[words:])
        except ValueError:
            raise UserError(
                f"{source.path / name}, line {number}: {line[:80]!r} should end in four whole "
                "numbers after tabs; put the file of the official archive in its place"
            ) from None
        yield columns[:words], (x0, y0, x1 + 1, y1 + 1)
