"""Lists the caches with their size on disk and removes those that are not needed."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from headstart.core.cache_folders import QUANTIZED, ROWS, TRAINING, cache_name
from headstart.core.hdf5_files import get_dataset, open_hdf5, read_json
from headstart.extraction.cache_parts import is_intact, remove_part
from headstart.store.features import split_provenance
from headstart.store.shards import find_shards


@dataclass(frozen=True)
class CacheFolder:
    """One folder below the cache's root. size: in bytes. needed: by the current features."""

    path: Path
    size: int
    needed: bool


def list_caches(root: Path, features_folder: Path, backbones: list[str]) -> list[CacheFolder]:
    """Lists all caches below `root`, the largest first.

    Feature caches are needed if current features were assembled from them, or if they are newer
    than all features, because a killed extraction resumes from them. int8 networks are needed if
    current features were computed with them. Training checkpoints let a killed run resume; finished
    runs don't need them.

    features_folder: contains a folder for each of `backbones` that was extracted.
    """
    stored = [path for b in backbones for path in (features_folder / b).glob("*.h5")]
    features_files = [file for path in stored for file in find_shards(path)]
    provenances = [provenance for path in features_files for provenance in _provenances(path)]
    needed = {root / ROWS / cache_name(*provenance) for provenance in provenances}
    quantized = {provenance.get("quantized") for provenance, _ in provenances}
    newest = max((path.stat().st_mtime for path in features_files), default=0.0)
    rows = [path for path in (root / ROWS).glob("*") if path.is_dir()]
    networks = [path for path in (root / QUANTIZED).glob("*") if path.is_dir()]
    trainings = [path for path in (root / TRAINING).glob("*") if path.is_dir()]
    caches = [
        *(CacheFolder(p, _size(p), p in needed or p.stat().st_mtime > newest) for p in rows),
        *(CacheFolder(p, _size(p), bool(quantized & _weights(p))) for p in networks),
        *(CacheFolder(p, _size(p), False) for p in trainings),
    ]
    return sorted(caches, key=lambda cache: (-cache.size, cache.path))


def remove_cache(cache: CacheFolder) -> bool:
    """Deletes a cache, unless a running stage holds one of its locks; returns whether it did."""
    with _hold_locks(cache.path) as held:
        if held:
            shutil.rmtree(cache.path)
    return held


def verify_cache(cache: CacheFolder) -> tuple[int, int] | None:
    """Reads all parts of a cache of rows; deletes those that don't match their digest.

    Returns the number of parts that there were and the number that were deleted; None, without
    reading anything, if a running stage holds one of the locks.
    """
    with _hold_locks(cache.path) as held:
        if not held:
            return None
        parts = list(cache.path.rglob("*.npy"))
        damaged = [part for part in parts if not is_intact(part)]
        for part in damaged:
            remove_part(part)
        for index in set(cache.path.rglob("*.keys")):
            if not index.with_suffix(".npy").exists():
                index.unlink()
    return len(parts), len(damaged)


@contextmanager
def _hold_locks(folder: Path) -> Iterator[bool]:
    """Holds all locks of a cache; yields False if a running stage holds one of them."""
    with ExitStack() as locks:
        try:
            for path in folder.rglob("lock*"):
                locks.enter_context(FileLock(path).acquire(timeout=0))
        except Timeout:
            yield False
            return
        yield True


def _provenances(features: Path) -> list[tuple[dict[str, Any], str]]:
    """Returns the arguments of `cache_name` for each cache that features were assembled from."""
    with open_hdf5(features) as file:
        dtype = get_dataset(file, "features").dtype.name
        return [(own, dtype) for own in split_provenance(read_json(file, "provenance"))]


def _weights(network: Path) -> set[str]:
    return {path.stem for path in network.glob("*.bin")}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
