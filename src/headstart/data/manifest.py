"""The manifest: a line of JSON with the classes, then one for each readable image."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from headstart.core.atomic_files import write_text
from headstart.core.errors import UserError
from headstart.data.datasets.base import Box
from headstart.store.examples import ClassLabel, Split
from headstart.store.shards import remove_other_shards, shard_of, shard_path


@dataclass(frozen=True)
class Entry:
    """A readable image.

    label: index into the manifest's classes, or None. width, height: in px, with the EXIF
    orientation applied. boxes: in the same px. group: as in `datasets.Record`. content: hexadecimal
    SHA-256 of the file.
    """

    id: str
    split: Split
    label: int | None
    width: int
    height: int
    boxes: tuple[Box, ...] = ()
    group: str | None = None
    content: str = ""


@dataclass(frozen=True)
class Manifest:
    """The readable images of a dataset and its classes, which `Entry.label` indexes.

    Raises:
        UserError: two entries have the same id.
    """

    classes: list[ClassLabel]
    entries: list[Entry]

    def __post_init__(self) -> None:
        check_unique_ids(entry.id for entry in self.entries)


def check_unique_ids(ids: Iterable[str]) -> None:
    """Raises UserError if an id occurs twice, because predictions are identified by it."""
    duplicates = [id_ for id_, count in Counter(ids).items() if count > 1]
    if duplicates:
        shown = ", ".join(f"'{id_}'" for id_ in duplicates[:10])
        raise UserError(
            f"{len(duplicates)} ids stand for more than one image: {shown}; rename them"
        )


def save_manifest(path: Path, manifest: Manifest, shards: int = 1) -> None:
    """Writes the manifest to `path`, as `store.shards` says; raises what `atomic_path` raises."""
    entries: list[list[Entry]] = [[] for _ in range(shards)]
    for entry in manifest.entries:
        entries[shard_of(entry.id, shards)].append(entry)
    remove_other_shards(path, shards)
    for number, own in enumerate(entries):
        lines: list[object] = [{"classes": [[label.id, label.name] for label in manifest.classes]}]
        lines += map(asdict, own)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_text(shard_path(path, number, shards), text)


def load_manifest(path: Path) -> Manifest:
    """Reads the manifest at `path`, which is one file: that of a shard if there are several.

    Raises:
        UserError: the file is missing, was not written by `prepare`, or names an image twice.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            classes = [ClassLabel(*pair) for pair in json.loads(next(lines))["classes"]]
            entries = [_entry(json.loads(line)) for line in lines]
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, StopIteration):
        raise UserError(f"{path} is not a manifest; delete it and run `dvc repro`") from None
    return Manifest(classes, entries)


def _entry(content: dict) -> Entry:
    boxes = tuple(map(tuple, content.pop("boxes")))
    return Entry(**content, boxes=boxes)
