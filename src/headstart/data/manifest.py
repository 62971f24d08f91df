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


@dataclass(frozen=True)
class Entry:
    """A readable image.

    label: index into the manifest's classes, or None. width, height: in px, with the EXIF
    orientation applied. boxes: in the same px. group: as in `datasets.Record`.
    """

    id: str
    split: Split
    label: int | None
    width: int
    height: int
    boxes: tuple[Box, ...] = ()
    group: str | None = None


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


def save_manifest(path: Path, manifest: Manifest) -> None:
    """Writes the manifest to `path`; raises what `atomic_path` raises."""
    lines: list[object] = [{"classes": [[label.id, label.name] for label in manifest.classes]}]
    lines += [asdict(entry) for entry in manifest.entries]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def load_manifest(path: Path) -> Manifest:
    """Reads the manifest at `path`.

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
