"""Which contents stood in which split when `prepare` last ran, so that it can say what changed.

Below the cache's root, as DVC deletes a stage's outputs before it runs: a line an image, the
SHA-256 of its file and its split.
"""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from headstart.config import DatasetOutline
from headstart.core.atomic_files import write_text
from headstart.core.cache_folders import cache_root


class SplitChanges(NamedTuple):
    """How many images changed splits, were added, were removed."""

    moved: int
    added: int
    removed: int


def record_splits(
    dataset: DatasetOutline, contents: Sequence[str], splits: Sequence[str]
) -> SplitChanges | None:
    """Keeps the splits of the images whose files have the SHA-256 digests `contents`.

    Returns what changed since this dataset's last record; None if there is none.

    Raises:
        UserError: the cache can't be written to.
    """
    described = f"{dataset.name} {dataset.path.absolute()}".encode()
    path = cache_root() / "splits" / blake2b(described, digest_size=8).hexdigest()
    now = [f"{content} {split}\n" for content, split in zip(contents, splits, strict=True)]
    before = path.read_bytes().decode(errors="replace") if path.exists() else None
    write_text(path, "".join(now))
    return None if before is None else compare_splits(before.splitlines(keepends=True), now)


def compare_splits(before: list[str], now: list[str]) -> SplitChanges:
    """Between two records' lines; an image is known by its content, whatever it is called."""
    gained = _contents(Counter(now) - Counter(before))
    lost = _contents(Counter(before) - Counter(now))
    moved = gained & lost
    return SplitChanges(moved.total(), (gained - moved).total(), (lost - moved).total())


def _contents(lines: Counter[str]) -> Counter[str]:
    return Counter(line.partition(" ")[0] for line in lines.elements())
