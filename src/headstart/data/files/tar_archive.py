"""The files of a dataset in a .tgz, which can only be read from its beginning to its end."""

import gzip
import tarfile
import zlib
from pathlib import Path

from headstart.core.errors import UserError
from headstart.data.decoding import UnreadableImageError
from headstart.data.files.file_tree import FileTree

MAX_BYTES = 1 << 30
"""Limit on the unpacked size, all of which is held in memory."""


def open_tar(path: Path, key: str = "dataset.path") -> FileTree:
    """Reads the regular files of a .tgz into memory. Nothing is written to disk.

    key: the key in params.yaml, for messages.

    Raises:
        UserError: `path` can't be read, is no .tgz, is damaged, or unpacks to more than MAX_BYTES.
    """
    files: dict[str, bytes] = {}
    size = 0
    try:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                size += member.size
                if size > MAX_BYTES:
                    raise UserError(
                        f"{key}: {path} unpacks to more than {MAX_BYTES:,} bytes; unpack it, and "
                        "name the folder"
                    )
                if member.isfile() and (file := archive.extractfile(member)):
                    files[member.name.removeprefix("./")] = file.read()
            unpacked.read(1 << 20)  # to the file's end, where gzip checks its checksum
    except FileNotFoundError:
        raise UserError(f"{key}: {path} doesn't exist") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(
            f"{key}: {path} can't be read as a .tgz ({error}); copy or download it again"
        ) from None

    def read(name: str) -> bytes:
        if name not in files:
            raise UnreadableImageError("the file is missing")
        return files[name]

    hidden = [n for n in files if any(part.startswith(".") for part in n.split("/"))]
    return FileTree(path, sorted(files.keys() - set(hidden)), read)
