"""Files of a dataset, from a folder or straight from a .zip; nothing is unpacked."""

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

from headstart.core.errors import UserError
from headstart.data.decoding import UnreadableImageError

MAX_FILE_BYTES = 1 << 29
"""No image file is larger; a .zip's member that unpacks to more is an attack."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that zipfile unpacks no further than it is asked to."""

# The second line's can't be decoded here; they are images all the same, and reported as bad.
IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"),
    *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg"),
)


@dataclass(frozen=True)
class FileTree:
    """A tree of files.

    names: sorted, relative to the tree's root, `/` between parts; a folder's ends in `/`. Hidden
    files are not among them. read: a name to the file's bytes; raises BadImage where it can't.
    """

    path: Path
    names: list[str]
    read: Callable[[str], bytes]

    def subtree(self, folder: str) -> "FileTree":
        """The tree below `folder`, whose name ends in `/` (or is empty: this tree)."""
        names = [name.removeprefix(folder) for name in self.names if name.startswith(folder)]
        return FileTree(
            self.path / folder, [n for n in names if n], lambda name: self.read(folder + name)
        )

    def text(self, name: str) -> str:
        """A text file's content.

        Raises:
            UserError: it is missing or not UTF-8.
        """
        try:
            return self.read(name).decode("utf-8")
        except (UnreadableImageError, UnicodeDecodeError) as error:
            raise UserError(f"{self.path / name} can't be read: {error}") from None


def open_tree(path: Path, key: str = "dataset.path", *, follow_links: bool = True) -> FileTree:
    """The folder or .zip at `path`, which a user named as `key`.

    follow_links: also those that lead out of the folder.

    Raises:
        UserError: it is neither, or can't be read; a name in it is not Unicode, or stands there
            twice; links lead out of the folder, to images or folders, and may not; the .zip is
            damaged, or made to unpack to more than it holds.
    """
    with _readable(path, key):
        names, read = _opened(path, key, follow_links)
    names.sort()
    for name, following in pairwise(names):
        if name == following:
            raise UserError(f"{path} holds '{name}' twice; make the .zip anew")
    for name in names:
        if not _encodable(name):
            raise UserError(f"{path}: the name {name!a} is not UTF-8; rename the file")
    return FileTree(path, names, read)


def check(path: Path, key: str = "dataset.path") -> None:
    """Finds out without looking into it whether there is a folder or .zip at `path`.

    Raises:
        UserError: there is neither, or it can't be read.
    """
    with _readable(path, key):
        if path.is_dir():
            return
        if not path.exists():
            raise UserError(f"{key}: {path} doesn't exist; name your folder or .zip")
        if path.is_file():
            with path.open("rb"):  # is_zipfile takes what may not be read for another kind of file
                pass
        if not path.is_file() or not zipfile.is_zipfile(path):
            raise UserError(f"{key}: {path} is neither a folder nor a .zip")


@contextmanager
def _readable(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{key}: {error.filename or path} can't be read ({error.strerror}); "
            "let yourself read it, or move it elsewhere"
        ) from None


def is_image(name: str) -> bool:
    """Whether a name is an image's by its extension."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def _opened(path: Path, key: str, follow_links: bool) -> tuple[list[str], Callable[[str], bytes]]:
    """The names in the folder or .zip at `path`, unsorted, and what reads them."""
    check(path, key)
    if path.is_dir():
        return _folder_names(path, follow_links), _folder_reader(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UserError(
            f"{key}: {path} is a damaged .zip ({error}); copy or download it again"
        ) from None
    _check_zip(archive, path)
    return list(_zip_names(archive)), _zip_reader(archive)


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folder_names(root: Path, follow_links: bool) -> list[str]:
    """Names below `root`. Linked folders are entered, those that lead back up are not."""
    names: list[str] = []
    leaving: list[str] = []
    inside = root.resolve()

    def walk(folder: Path, prefix: str, above: frozenset[Path]) -> None:
        above |= {folder.resolve()}
        for entry in folder.iterdir():
            if entry.name.startswith("."):
                continue
            name, is_folder = prefix + entry.name, entry.is_dir()
            wanted = is_folder or is_image(name)
            if wanted and not follow_links and _leads_out(entry, inside):
                leaving.append(f"'{name}' to {entry.readlink()}")
            elif not is_folder:
                names.append(name)
            elif entry.resolve() not in above:
                names.append(f"{name}/")
                walk(entry, f"{name}/", above)

    walk(root, "", frozenset())
    if leaving:
        shown = ", ".join(sorted(leaving)[:5]) + (", …" if len(leaving) > 5 else "")
        raise UserError(
            f"links lead out of {root} ({len(leaving)}): {shown}; follow them with "
            "`dataset.follow_links: true`, or put what they lead to in their place"
        )
    return names


def _leads_out(entry: Path, folder: Path) -> bool:
    """Whether `entry` is a link to something outside of `folder`, a path without links."""
    # Path.resolve raises an error where links lead in a circle.
    return entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(folder)


def _check_zip(archive: zipfile.ZipFile, path: Path) -> None:
    """Raises UserError unless what is read from a .zip is bounded by its size.

    Packed by deflate, a byte unpacks to a thousand at most, unless members share their bytes.
    """
    for member in archive.infolist():
        if member.compress_type not in _METHODS:
            raise UserError(
                f"{path}: '{member.filename}' is packed by another method than deflate; "
                "make the .zip anew"
            )
    if sum(member.compress_size for member in archive.infolist()) > path.stat().st_size:
        raise UserError(f"{path} is made to unpack to more than it holds; don't trust it")


def _zip_names(archive: zipfile.ZipFile) -> Iterator[str]:
    """The members and the folders that they lie in, whether the .zip lists those or not."""
    folders: set[str] = set()
    for name in archive.namelist():
        parts = name.rstrip("/").split("/")
        if parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
            continue
        depth = len(parts) + 1 if name.endswith("/") else len(parts)
        folders.update("/".join(parts[:end]) + "/" for end in range(1, depth))
        if not name.endswith("/"):
            yield name
    yield from folders


def _bounded(file: IO[bytes], size: int) -> bytes:
    """The content of a file that is said to have `size` bytes; no more is ever held.

    Raises:
        BadImage: it has not, or more than are allowed.
    """
    if size > MAX_FILE_BYTES:
        raise UnreadableImageError(f"the file is larger than {MAX_FILE_BYTES} bytes")
    data = file.read(size + 1)
    if len(data) != size:
        raise UnreadableImageError(f"the file doesn't have the {size} bytes that it should have")
    return data


def _folder_reader(folder: Path) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        path = folder / name
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImageError("not a regular file")
            with path.open("rb") as file:
                return _bounded(file, status.st_size)
        except FileNotFoundError:
            raise UnreadableImageError("the file is missing") from None
        except OSError as error:
            raise UnreadableImageError(f"the file can't be read: {error.strerror}") from None

    return read


def _zip_reader(archive: zipfile.ZipFile) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        try:
            with archive.open(name) as member:
                return _bounded(member, archive.getinfo(name).file_size)
        except KeyError:
            raise UnreadableImageError("the file is missing") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            # RuntimeError: the member is encrypted. NotImplementedError is one too.
            raise UnreadableImageError(f"damaged in the .zip: {error}") from None

    return read
