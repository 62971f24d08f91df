"""Where caches lie on disk, and how their folders are named."""

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError

ROWS, QUANTIZED, TRAINING = "rows", "quantized", "training"
"""Folders below `cache_root()`: of the row caches, of int8 networks, and of what trainings go on
from."""


def cache_root() -> Path:
    """Where all caches lie: `$HEADSTART_CACHE`, or .cache/headstart in the project.

    `DVC_ROOT` is set by DVC and points at the main checkout even when an experiment runs in a copy.
    """
    if root := os.environ.get("HEADSTART_CACHE"):
        return Path(root)
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / "headstart"


def cache_name(provenance: dict[str, Any], dtype: str) -> str:
    """The folder's name of the cache for rows that `provenance` (plain JSON) determines."""
    described = json.dumps({**provenance, "dtype": dtype}, sort_keys=True)
    digest = blake2b(described.encode(), digest_size=8).hexdigest()
    return f"{provenance['architecture']}-{digest}"


def ensure_dir(folder: Path) -> None:
    """Makes a folder of the cache where there is none, and newer than all features where there is:
    it isn't pruned then, and a run that is killed goes on from it.

    Raises:
        UserError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    except OSError as error:
        raise UserError(
            f"can't make the cache {folder} ({error.strerror}); "
            f"set HEADSTART_CACHE to a folder that can be written to"
        ) from None
