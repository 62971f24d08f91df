"""Digests of files on disk."""

from hashlib import file_digest
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, hexadecimal; raises OSError if it can't be read."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
