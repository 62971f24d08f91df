"""The files from which a killed training resumes: checkpoints, and snapshots of weights.

Each file is written to a temporary name, synced and renamed, so it is either complete or absent.
Its name ends in the digest of its content, so damage that happens later is detected. A checkpoint
refers to its snapshots by their names. The newest two checkpoints are kept with their snapshots: if
the newest is damaged, training resumes from the one before it.
"""

from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from headstart.core.atomic_files import atomic_path

CHECKPOINTS_KEPT = 2


def write_checkpoint(folder: Path, name: str, content: bytes) -> str:
    """Writes `content` to `folder`; returns the file's name, which is `name` with the digest.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    plain_path = folder / name
    digest = _new_digest(content).hexdigest()
    path = plain_path.with_stem(f"{plain_path.stem}_{digest}")
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)
    return path.name


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the newest checkpoint, or None if there is none.

    The names of checkpoints begin with `checkpoint_` and the number of the epoch.
    """
    return max(folder.glob("checkpoint_*.pt"), default=None)


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Returns the state in a checkpoint, with its tensors in the host's memory."""
    return torch.load(checkpoint, map_location="cpu", weights_only=True)


def remove_damaged_checkpoints(folder: Path, snapshots: int, label: str) -> None:
    """Removes the newest checkpoints until one is usable, and reports what was damaged.

    A checkpoint is unusable if it is damaged, or if one of the last snapshots that it refers to is
    damaged or missing.

    snapshots: how many of the last snapshots are needed. label: the training's name, for the
    message.
    """
    damaged: list[Path] = []
    while checkpoint := newest_checkpoint(folder):
        damaged_now = _damaged_files([checkpoint])
        if not damaged_now:
            names = read_checkpoint(checkpoint)["snapshots"][-snapshots:]
            damaged_now = _damaged_files([folder / name for name in names])
        if not damaged_now:
            break
        damaged += damaged_now
        for path in (checkpoint, *damaged_now):
            path.unlink(missing_ok=True)
    if damaged:
        names = ", ".join(dict.fromkeys(path.name for path in damaged))
        start = f"resumes from {checkpoint.name}" if checkpoint else "starts from the beginning"
        tqdm.write(f"{label}: {names} can't be read; training {start}")


def remove_old_files(folder: Path, snapshots: list[str]) -> None:
    """Removes older checkpoints, all snapshots except those named, and unfinished files."""
    old = sorted(folder.glob("checkpoint_*.pt"))[:-CHECKPOINTS_KEPT]
    unused = [path for path in folder.glob("snapshot_*") if path.name not in snapshots]
    for path in (*old, *unused, *folder.glob(".*.tmp")):
        path.unlink(missing_ok=True)


def _damaged_files(paths: list[Path]) -> list[Path]:
    """Returns the files that are missing, or whose names don't end in their digests."""
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
    """Returns a digest of `content` that can be updated."""
    return blake2b(content, digest_size=16)
