"""Records the split of each image, so that the next run of `prepare` can report what changed.

The record has one line per image, with the SHA-256 of its file and its split. It is below the
cache's root, because DVC deletes a stage's outputs before the stage runs.
"""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from headstart.config import DatasetOutline
from headstart.core.atomic_files import write_text
from headstart.core.cache_folders import cache_root


class SplitChanges(NamedTuple):
    """Numbers of images that changed splits, were added and were removed."""

    moved: int
    added: int
    removed: int


def record_splits(
    dataset: DatasetOutline, contents: Sequence[str], splits: Sequence[str]
) -> SplitChanges | None:
    """Records the images' splits; returns what changed since the dataset's last record, if any.

    contents: SHA-256 digests of the images' files. splits: their splits, in the same order.

    Raises:
        UserError: the cache can't be written to.
    """
    described = f"{dataset.name} {dataset.path.absolute()}".encode()
    path = cache_root() / "splits" / blake2b(described, digest_size=8).hexdigest()
    current = [f"{content} {split}\n" for content, split in zip(contents, splits, strict=True)]
    previous = path.read_bytes().decode(errors="replace") if path.exists() else None
    write_text(path, "".join(current))
    if previous is None:
        return None
    return compare_splits(previous.splitlines(keepends=True), current)


def compare_splits(previous: list[str], current: list[str]) -> SplitChanges:
    """Compares the lines of two records; images are identified by their contents."""
    gained = _contents(Counter(current) - Counter(previous))
    lost = _contents(Counter(previous) - Counter(current))
    moved = gained & lost
    return SplitChanges(moved.total(), (gained - moved).total(), (lost - moved).total())


def _contents(lines: Counter[str]) -> Counter[str]:
    return Counter(line.partition(" ")[0] for line in lines.elements())
