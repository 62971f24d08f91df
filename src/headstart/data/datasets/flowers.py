"""TensorFlow's `flower_photos`: photographs of five flowers, by amateurs, from Flickr; CC-BY 2.0.

    flower_photos/<class>/*.jpg
    flower_photos/LICENSE.txt       names the photographer of each

3,670 photographs, most with a short side of 240 px; 500 of them are embedded in the package
(`headstart.core.flower_photographs`). There is no val: `prepare` holds it out. A photographer's
pictures resemble each other, so they stay together in all splits.
https://www.tensorflow.org/datasets/catalog/tf_flowers
"""

import re
from pathlib import Path, PurePosixPath
from typing import Literal

from headstart.config.section import Fraction, Section, Seed
from headstart.core.errors import UserError
from headstart.data.datasets.base import Dataset, Record
from headstart.data.files.file_tree import FileTree, check, is_image, open_tree
from headstart.data.files.resumable_download import download
from headstart.data.files.tar_archive import open_tar
from headstart.store.examples import ClassLabel

CLASSES = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
FOLDER = "flower_photos"
ARCHIVE = f"{FOLDER}.tgz"
URL = f"https://storage.googleapis.com/download.tensorflow.org/example_images/{ARCHIVE}"
SIZE = 228_813_984
# https://github.com/tensorflow/datasets: tensorflow_datasets/url_checksums/tf_flowers.txt
DIGEST = "sha256:4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c"

_CREDIT = re.compile(r"(\S+)\.jpg CC-BY .*flickr\.com/photos/([^/\s]+)")
"""A photograph's name and its photographer's id, of a line of LICENSE.txt."""


class Flowers(Section):
    """Photographs of five flowers.

    path: the embedded .zip; or the public archive, `flower_photos.tgz`, as it is or unpacked, or a
    folder that holds it. A folder that holds neither gets the archive from the network.
    val_fraction, seed: the share of each class's images that becomes val, and the seed that chooses
    them.
    """

    name: Literal["flowers"] = "flowers"
    path: Path
    val_fraction: Fraction = 0.2
    seed: Seed = 0

    def check(self) -> None:
        """Checks that the path is there; raises UserError otherwise."""
        if self.path.suffix != ".tgz":
            check(self.path)
        elif not self.path.is_file():
            raise UserError(
                f"dataset.path: {self.path} doesn't exist; name the archive, or a folder to load "
                "it to"
            )

    def load(self) -> Dataset:
        """Lists the photographs at `path`; downloads the archive if a folder lacks it.

        Raises:
            UserError: the archive can't be found, downloaded or read; or a class has no photograph,
                or a photograph no line in LICENSE.txt.
        """
        source = locate(self.path)
        groups = photographers(source.text("LICENSE.txt"))
        names = [name for name in source.names if is_image(name)]
        if missing := set(CLASSES) - {name.split("/")[0] for name in names}:
            raise UserError(f"{source.path} has no photograph in {sorted(missing)[0]}/")
        records = []
        for name in names:
            class_, stem = name.split("/")[0], str(PurePosixPath(name).with_suffix(""))
            if class_ not in CLASSES or stem not in groups:
                raise UserError(
                    f"{source.path}: LICENSE.txt doesn't name '{name}', so this isn't the archive "
                    "as it was published; read your own images as `dataset.name: image_folder`"
                )
            records.append(Record(name, CLASSES.index(class_), "train", group=groups[stem]))
        return Dataset(
            classes=[ClassLabel(name, name) for name in CLASSES],
            records=records,
            read=source.read,
            val_fraction=self.val_fraction,
            seed=self.seed,
        )


def locate(path: Path) -> FileTree:
    """Returns the tree with LICENSE.txt at its root; downloads the archive if a folder lacks it.

    Raises:
        UserError: the archive can't be found, downloaded or read.
    """
    if path.is_dir():
        for folder in (path, path / FOLDER):
            if (folder / "LICENSE.txt").is_file():
                return open_tree(folder)
        path = path / ARCHIVE
        if not path.exists():
            download(URL, path, SIZE, DIGEST)
    source = open_tar(path) if path.suffix == ".tgz" else open_tree(path)
    for root in ("", f"{FOLDER}/"):
        if f"{root}LICENSE.txt" in source.names:
            return source.subtree(root)
    raise UserError(f"{path} has no {FOLDER}/LICENSE.txt, so it isn't the archive of {FOLDER}")


def photographers(license_text: str) -> dict[str, str]:
    """Returns the photographer's id on Flickr of each photograph, by its name without extension."""
    return dict(_CREDIT.findall(license_text))
