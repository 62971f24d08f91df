"""Images in .tar archives as the library webdataset writes them.

    train-0000.tar: 000001.jpg, 000001.cls, 000002.jpg, 000002.cls, …

The files of a sample are neighbors with the same name up to the first dot. Its label is in one of
them: .cls or .txt, a number or a class's name, or a key of .json.
https://github.com/webdataset/webdataset
"""

import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator
from upath import UPath

from headstart.config.section import Fraction, LocalOrRemotePath, Section, Seed
from headstart.core.errors import UserError, did_you_mean
from headstart.core.thread_map import thread_map
from headstart.data.datasets.base import Dataset, Record
from headstart.data.datasets.class_labels import check_classes, find_labels, several_labels
from headstart.data.datasets.row_problems import RowProblems
from headstart.data.datasets.split_names import DatasetSplit, splits_in_names
from headstart.data.files.file_tree import is_image, open_tree
from headstart.data.files.remote_tree import reads_at_once
from headstart.data.files.safe_reading import readable
from headstart.data.files.tar_shards import TarImages, TarMember, list_members
from headstart.store.examples import ClassLabel

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SAMPLE = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
"""The name of a sample's file: the sample's key, and an ending that may hold dots."""


def _is_one_path(path: Path | UPath) -> Path | UPath:
    if any(sign in path.name for sign in "{*?"):
        raise ValueError(
            f"can't be a pattern, because DVC watches it; name the folder in path, and "
            f"'{path.name}' in files"
        )
    return path


def _has_key(field: str) -> str:
    if field == "json":
        raise ValueError("should name a key in it, too, as in json.label")
    return field


ArchivePath = Annotated[LocalOrRemotePath, AfterValidator(_is_one_path)]
SampleField = Annotated[str, AfterValidator(_has_key)]
"""The ending of a sample's file, without the dot: `cls`; of .json a key, too: `json.label`."""


class WebDataset(Section):
    """Images in .tar archives, each beside its label.

    path: of the archive, or of the folder of several. files: which of those; `{0000..0146}` stands
    for all these numbers, `*` for any letters. label: where a sample's label is. group: where the
    name is of what must stay together in all splits that `prepare` makes. classes: a text file with
    the name of one class per line, the first for label 0. val_fraction, seed: the share of each
    class's training images that becomes val where no archive's name says val, and the seed that
    chooses them.
    """

    name: Literal["webdataset"] = "webdataset"
    path: ArchivePath
    files: str = "*.tar"
    label: SampleField = "cls"
    group: SampleField | None = None
    classes: Path | None = None
    val_fraction: Fraction = 0.2
    seed: Seed = 0

    def check(self) -> None:
        """Checks that the archives and the list of classes are there; raises UserError if not."""
        self._archives()
        self._class_names()

    def load(self) -> Dataset:
        """Lists the images of all archives, in one pass over each.

        Raises:
            UserError: archives are missing or damaged; samples are wrong: no image or two, no label
                or an unknown one; or a class has no image in train. All wrong samples are counted
                and the first are listed.
        """
        archives, class_names = self._archives(), self._class_names()
        of_archives = splits_in_names([archive.name for archive in archives], str(self.path))
        problems, images = RowProblems(), TarImages()
        samples: list[_Sample] = []
        splits: list[DatasetSplit] = []
        for number, members in enumerate(self._members(archives)):
            archive = archives[number]
            for key, files in _neighbors(members):
                place = f"{archive.name}, {key}"
                try:
                    image = _image(files)
                    label, group = _text(files, self.label), _text(files, self.group)
                except ValueError as error:
                    problems.add(place, error)
                    continue
                samples.append(_Sample(place, f"{archive.name}/{image.name}", label, group))
                splits.append(of_archives[number] if of_archives else "train")
                images.add(samples[-1].id, archive.path, image)
        classes, labels = find_labels(
            [sample.label for sample in samples],
            splits,
            class_names,
            problems,
            lambda i: samples[i].place,
        )
        problems.stop_if_any(self.path)
        check_classes(self.path, classes, labels, splits)
        return Dataset(
            classes=[ClassLabel(name, name) for name in classes],
            records=[
                Record(sample.id, label, split, group=sample.group)
                for sample, label, split in zip(samples, labels, splits, strict=True)
            ],
            read=images.read,
            reads_at_once=reads_at_once(self.path),
            val_fraction=None if "val" in splits else self.val_fraction,
            seed=self.seed,
        )

    def _archives(self) -> "list[_Archive]":
        with readable(self.path):
            is_folder, exists = self.path.is_dir(), self.path.exists()
        if not exists:
            raise UserError(f"dataset.path: {self.path} doesn't exist; name a .tar, or a folder")
        if not is_folder:
            return [_Archive(self.path.name, self.path)]
        names = [name for name in open_tree(self.path).names if not name.endswith("/")]
        chosen: list[str] = []
        for pattern in _expanded(self.files):
            matching = [name for name in names if fnmatchcase(name, pattern)]
            if not matching:
                hint = did_you_mean(pattern, names)
                raise UserError(f"dataset.files: {self.path} holds no '{pattern}'; {hint}")
            chosen += matching
        return [_Archive(name, self.path / name) for name in dict.fromkeys(chosen)]

    def _class_names(self) -> list[str] | None:
        if self.classes is None:
            return None
        try:
            lines = self.classes.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise UserError(
                f"dataset.classes: {self.classes} can't be read; name a text file with one class "
                "per line"
            ) from None
        names = [line.strip() for line in lines if line.strip()]
        if len(set(names)) < len(names):
            raise UserError(f"dataset.classes: {self.classes} names a class twice; rename one")
        return names

    def _members(self, archives: "list[_Archive]") -> Iterable[list[TarMember]]:
        fields = [field for field in (self.label, self.group) if field]
        endings = tuple(f".{field.partition('.')[0]}" for field in fields)
        return thread_map(
            lambda archive: list(list_members(archive.path, endings)),
            archives,
            "listing archives",
            reads_at_once(self.path),
        )


class _Archive(NamedTuple):
    """name: relative to the dataset's folder."""

    name: str
    path: Path | UPath


class _Sample(NamedTuple):
    """place: for messages. id: of the record."""

    place: str
    id: str
    label: str | None
    group: str | None


def _expanded(pattern: str) -> list[str]:
    """Returns the patterns that one with ranges of numbers stands for: {08..10} for 08, 09, 10."""
    if not (range_ := _RANGE.search(pattern)):
        return [pattern]
    first, last = range_.groups()
    return [
        expanded
        for number in range(int(first), int(last) + 1)
        for expanded in _expanded(
            pattern[: range_.start()] + f"{number:0{len(first)}}" + pattern[range_.end() :]
        )
    ]


def _neighbors(members: Iterable[TarMember]) -> Iterator[tuple[str, dict[str, TarMember]]]:
    """Yields each sample's key and its files by their endings, in lower case."""
    named = [(match, member) for member in members if (match := _SAMPLE.fullmatch(member.name))]
    for key, files in groupby(named, key=lambda pair: pair[0][1]):
        yield key, {match[2].lower(): member for match, member in files}


def _image(files: dict[str, TarMember]) -> TarMember:
    images = [member for member in files.values() if is_image(member.name)]
    if not images:
        raise ValueError(
            f"there is no image, only .{', .'.join(files)}; the files of a sample are neighbors"
        )
    if len(images) > 1:
        raise ValueError(f"there are several images: {', '.join(image.name for image in images)}")
    return images[0]


def _text(files: dict[str, TarMember], field: str | None) -> str | None:
    """Returns what a field of a sample holds as text, or None if there is nothing."""
    if field is None:
        return None
    ending, _, key = field.partition(".")
    member = files.get(ending)
    if member is None or member.text is None:
        return None
    try:
        text = member.text.decode("utf-8").strip()
        value = json.loads(text).get(key) if key else text
    except (ValueError, AttributeError):
        raise ValueError(f".{ending} can't be read as text, or has no keys") from None
    if isinstance(value, list):
        raise several_labels(f"dataset.label: {field}")
    return None if value is None else str(value).strip() or None
