"""Which contents stood in which split when `prepare` last ran, so that it can say what changed.

Below the cache's root, as DVC deletes a stage's outputs before it runs: a line an image, the
SHA-256 of its file and its split.
"""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from headstart import files
from headstart.params import ImageFolder, PhotoPatches, TinyImageNet
from headstart.rows import cache_root


class Changes(NamedTuple):
    """How many images changed splits, were added, were removed."""

    moved: int
    added: int
    removed: int


def record(
    dataset: PhotoPatches | TinyImageNet | ImageFolder,
    contents: Sequence[str],
    splits: Sequence[str],
) -> Changes | None:
    """Keeps the splits of the images whose files have the SHA-256 digests `contents`.

    Returns what changed since this dataset's last record; None if there is none.

    Raises:
        UserError: the cache can't be written to.
    """
    described = f"{dataset.name} {dataset.path.absolute()}".encode()
    path = cache_root() / "splits" / blake2b(described, digest_size=8).hexdigest()
    now = [f"{content} {split}\n" for content, split in zip(contents, splits, strict=True)]
    before = path.read_bytes().decode(errors="replace") if path.exists() else None
    files.write(path, "".join(now))
    return None if before is None else changes(before.splitlines(keepends=True), now)


def changes(before: list[str], now: list[str]) -> Changes:
    """Between two records' lines; an image is known by its content, whatever it is called."""
    gained = _contents(Counter(now) - Counter(before))
    lost = _contents(Counter(before) - Counter(now))
    moved = gained & lost
    return Changes(moved.total(), (gained - moved).total(), (lost - moved).total())


def _contents(lines: Counter[str]) -> Counter[str]:
    return Counter(line.partition(" ")[0] for line in lines.elements())
