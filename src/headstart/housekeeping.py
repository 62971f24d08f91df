"""What the caches take on disk, and which of them nothing current needs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from headstart import features
from headstart.rows import ROWS, cache_name


@dataclass(frozen=True)
class Cache:
    """One folder below the cache's root. size: bytes. needed: by the current features."""

    path: Path
    size: int
    needed: bool


def caches(root: Path, features_folder: Path, backbones: list[str]) -> list[Cache]:
    """All caches below `root`, the largest first.

    features_folder: holds a folder for each backbone that is in use; a row cache is needed where
    the features there were assembled from it. What training leaves is for going on after a kill,
    and never needed by what is finished.
    """
    needed = set()
    for backbone in backbones:
        for path in sorted((features_folder / backbone).glob("*.h5"))[:1]:
            found = features.load(path)
            needed.add(root / ROWS / cache_name(found.provenance, found.values.dtype.name))
    folders = [path for path in root.glob("*/*") if path.is_dir()]
    found = [Cache(path, _size(path), path in needed) for path in folders]
    return sorted(found, key=lambda cache: (-cache.size, cache.path))


def remove(cache: Cache) -> bool:
    """Deletes a cache; False, and it stays, where a running stage holds one of its locks."""
    locks = [FileLock(path) for path in cache.path.glob("lock*")]
    try:
        for lock in locks:
            lock.acquire(timeout=0)
    except Timeout:
        return False
    finally:
        for lock in locks:
            lock.release()
    shutil.rmtree(cache.path)
    return True


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
