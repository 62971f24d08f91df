"""The files from which a killed training goes on: checkpoints, and snapshots of weights.

A file's name ends in the digest of its content, and it is synced and renamed into its place; so it
is whole or it is not there, and one that was damaged later is found. A checkpoint refers to its
snapshots by their names. The newest two checkpoints are kept with their snapshots: where the newest
can't be used, training goes on from the one before.
"""

from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from headstart.core.atomic_files import atomic_path

KEPT = 2
"""Checkpoints."""


def write_checkpoint(folder: Path, name: str, content: bytes) -> str:
    """Writes `content` under `name` with its digest; returns the whole file name.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    plain = folder / name
    path = plain.with_stem(f"{plain.stem}_{_new_digest(content).hexdigest()}")
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)
    return path.name


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint, if there is one; names begin with `checkpoint_` and the epoch."""
    return max(folder.glob("checkpoint_*.pt"), default=None)


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """The state in a checkpoint, its tensors in the host's memory."""
    return torch.load(checkpoint, map_location="cpu", weights_only=True)


def drop_damaged(folder: Path, snapshots: int, label: str) -> None:
    """Removes, and says so, the newest checkpoints as long as they can't be used.

    They can't where their own content or that of one of the last `snapshots` that they refer to
    is damaged or missing.
    """
    damaged: list[Path] = []
    while checkpoint := newest_checkpoint(folder):
        found = _damaged([checkpoint])
        if not found:
            wanted = read_checkpoint(checkpoint)["snapshots"][-snapshots:]
            found = _damaged([folder / name for name in wanted])
        if not found:
            break
        damaged += found
        for path in (checkpoint, *found):
            path.unlink(missing_ok=True)
    if damaged:
        names = ", ".join(dict.fromkeys(path.name for path in damaged))
        then = f"goes on from {checkpoint.name}" if checkpoint else "begins anew"
        tqdm.write(f"{label}: {names} can't be read; training {then}")


def prune(folder: Path, snapshots: list[str]) -> None:
    """Removes older checkpoints, all snapshots but those named, and what was never finished."""
    old = sorted(folder.glob("checkpoint_*.pt"))[:-KEPT]
    others = [path for path in folder.glob("snapshot_*") if path.name not in snapshots]
    for path in (*old, *others, *folder.glob(".*.tmp")):
        path.unlink(missing_ok=True)


def _damaged(paths: list[Path]) -> list[Path]:
    """Those that are missing or whose names don't end in their digests."""
    damaged = []
    for path in paths:
        digest = ""
        if path.exists():
            with path.open("rb") as file:
                digest = file_digest(file, _new_digest).hexdigest()
        if path.stem.rpartition("_")[2] != digest:
            damaged.append(path)
    return damaged


def _new_digest(content: bytes = b"") -> blake2b:
    return blake2b(content, digest_size=16)
