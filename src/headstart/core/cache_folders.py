"""The location of the caches on disk, and the names of their folders."""

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError

ROWS, QUANTIZED, TRAINING = "rows", "quantized", "training"
"""Folders below `cache_root()`: feature caches, quantized (int8) networks, training checkpoints."""


def cache_root() -> Path:
    """Returns the folder of all caches: `$HEADSTART_CACHE`, or .cache/headstart in the project.

    `DVC_ROOT` is set by DVC and points at the main checkout even when an experiment runs in a copy.
    """
    if root := os.environ.get("HEADSTART_CACHE"):
        return Path(root)
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / "headstart"


def cache_name(provenance: dict[str, Any], dtype: str) -> str:
    """Returns the name of a feature cache's folder.

    provenance: plain JSON that determines the features. dtype: of the stored features.
    """
    described = json.dumps({**provenance, "dtype": dtype}, sort_keys=True)
    digest = blake2b(described.encode(), digest_size=8).hexdigest()
    layer = f"-{provenance['layer']}" if "layer" in provenance else ""
    return f"{provenance['architecture']}{layer}-{digest}"


def ensure_dir(folder: Path) -> None:
    """Creates a cache folder, or updates its modification time if it exists.

    A folder that is newer than all features isn't pruned, so that a killed run can resume from it.

    Raises:
        UserError: the folder can't be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    except OSError as error:
        raise UserError(
            f"can't create the cache {folder} ({error.strerror}); "
            f"set HEADSTART_CACHE to a folder that can be written to"
        ) from None
