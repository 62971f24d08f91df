"""The files of a dataset in a folder or a .zip, which is read without unpacking it to disk.

The folder may be remote (remote_tree.py).
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from upath import UPath

from headstart.core.errors import UserError
from headstart.data.decoding import UnreadableImageError
from headstart.data.files.remote_tree import (
    folders_of,
    read_remote,
    remote_names,
    require_listing,
)
from headstart.data.files.safe_reading import bounded, readable

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods of which zipfile unpacks only as many bytes as are read."""

# Those in the second line can't be decoded; they are listed so that they are reported as
# unreadable.
IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"),
    *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg"),
)


@dataclass(frozen=True)
class FileTree:
    """A tree of files.

    path: of its root. names: sorted, relative to the root, with `/` between their parts; a folder's
    name ends in `/`. Hidden files are left out. read: returns the bytes of the file of a name;
    raises `UnreadableImageError` if they can't be read.
    """

    path: Path | UPath
    names: list[str]
    read: Callable[[str], bytes]

    def subtree(self, folder: str) -> "FileTree":
        """Returns the tree below `folder`, a name that ends in `/`, or "" for this tree."""
        names = [name.removeprefix(folder) for name in self.names if name.startswith(folder)]
        return FileTree(
            self.path / folder, [n for n in names if n], lambda name: self.read(folder + name)
        )

    def text(self, name: str) -> str:
        """Returns the content of a text file.

        Raises:
            UserError: the file is missing or not UTF-8.
        """
        try:
            return self.read(name).decode("utf-8")
        except (UnreadableImageError, UnicodeDecodeError) as error:
            raise UserError(f"{self.path / name} can't be read: {error}") from None


def open_tree(
    path: Path | UPath, key: str = "dataset.path", *, follow_links: bool = True
) -> FileTree:
    """Lists the files of the folder or .zip at `path`, or of a remote folder.

    key: the key in params.yaml, for messages. follow_links: whether links to images or folders
    outside of the folder are followed.

    Raises:
        UserError: `path` is neither a folder nor a .zip, or can't be read; a name is not Unicode,
            or occurs twice; links lead out of the folder and `follow_links` is false; the .zip is
            damaged, or made to unpack to more than it holds.
    """
    if isinstance(path, UPath):
        names, read = remote_names(path, key), lambda name: read_remote(path / name)
    else:
        with readable(path, key):
            names, read = _names_and_reader(path, key, follow_links)
    names.sort()
    for name, following in pairwise(names):
        if name == following:
            raise UserError(f"{path} holds '{name}' twice; create the .zip again")
    for name in names:
        if not _encodable(name):
            raise UserError(f"{path}: the name {name!a} is not UTF-8; rename the file")
    return FileTree(path, names, read)


def check(path: Path | UPath, key: str = "dataset.path") -> None:
    """Checks that `path` is a folder or a .zip, or a remote folder, without listing its files.

    key: the key in params.yaml, for messages.

    Raises:
        UserError: `path` is neither, or can't be read.
    """
    with readable(path, key):
        if isinstance(path, UPath):
            require_listing(path, key)
        if path.is_dir():
            return
        if isinstance(path, UPath):
            raise UserError(f"{key}: {path} doesn't exist, or is no folder")
        if not path.exists():
            raise UserError(f"{key}: {path} doesn't exist; name your folder or .zip")
        if path.is_file():
            with path.open("rb"):  # is_zipfile returns False for a file that can't be read
                pass
        if not path.is_file() or not zipfile.is_zipfile(path):
            raise UserError(f"{key}: {path} is neither a folder nor a .zip")


def is_image(name: str) -> bool:
    """Returns whether a file's extension is that of an image."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def _names_and_reader(
    path: Path, key: str, follow_links: bool
) -> tuple[list[str], Callable[[str], bytes]]:
    """Returns the unsorted names in the folder or .zip at `path` and a function that reads them."""
    check(path, key)
    if path.is_dir():
        return _folder_names(path, follow_links), folder_reader(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UserError(
            f"{key}: {path} is a damaged .zip ({error}); copy or download it again"
        ) from None
    _check_zip(archive, path)
    return _zip_names(archive), _zip_reader(archive)


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folder_names(root: Path, follow_links: bool) -> list[str]:
    """Returns the names below `root`; links to a folder above themselves are skipped."""
    names: list[str] = []
    leaving: list[str] = []
    inside = root.resolve()

    def walk(folder: Path, prefix: str, ancestors: frozenset[Path]) -> None:
        ancestors |= {folder.resolve()}
        for entry in folder.iterdir():
            if entry.name.startswith("."):
                continue
            name, is_folder = prefix + entry.name, entry.is_dir()
            is_relevant = is_folder or is_image(name)
            if is_relevant and not follow_links and _leads_out(entry, inside):
                leaving.append(f"'{name}' to {entry.readlink()}")
            elif not is_folder:
                names.append(name)
            elif entry.resolve() not in ancestors:
                names.append(f"{name}/")
                walk(entry, f"{name}/", ancestors)

    walk(root, "", frozenset())
    if leaving:
        shown = ", ".join(sorted(leaving)[:5]) + (", …" if len(leaving) > 5 else "")
        raise UserError(
            f"links lead out of {root} ({len(leaving)}): {shown}; follow them with "
            "`dataset.follow_links: true`, or replace the links with the files themselves"
        )
    return names


def _leads_out(entry: Path, folder: Path) -> bool:
    """Returns whether `entry` is a link to a path outside of `folder`, which contains no links."""
    # os.path.realpath, because Path.resolve raises an error if links form a cycle.
    return entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(folder)


def _check_zip(archive: zipfile.ZipFile, path: Path) -> None:
    """Raises UserError unless the unpacked size of a .zip is bounded by the size of its file.

    One byte packed with deflate unpacks to a thousand bytes at most, unless members overlap.
    """
    for member in archive.infolist():
        if member.compress_type not in _METHODS:
            raise UserError(
                f"{path}: '{member.filename}' is not packed with deflate; create the .zip again"
            )
    if sum(member.compress_size for member in archive.infolist()) > path.stat().st_size:
        raise UserError(f"{path} is made to unpack to more than it holds; don't trust it")


def _zip_names(archive: zipfile.ZipFile) -> list[str]:
    """Returns the members and their folders, whether the .zip lists the folders or not."""
    names = []
    for name in archive.namelist():
        parts = name.rstrip("/").split("/")
        if parts[0] != "__MACOSX" and not any(part.startswith(".") for part in parts):
            names.append(name)
    return [*(name for name in names if not name.endswith("/")), *folders_of(names)]


def folder_reader(folder: Path) -> Callable[[str], bytes]:
    """Returns a function that reads the file of a name in `folder`, as `FileTree.read`."""

    def read(name: str) -> bytes:
        path = folder / name
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImageError("not a regular file")
            with path.open("rb") as file:
                return bounded(file, status.st_size)
        except FileNotFoundError:
            raise UnreadableImageError("the file is missing") from None
        except OSError as error:
            raise UnreadableImageError(f"the file can't be read: {error.strerror}") from None

    return read


def _zip_reader(archive: zipfile.ZipFile) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        try:
            with archive.open(name) as member:
                return bounded(member, archive.getinfo(name).file_size)
        except KeyError:
            raise UnreadableImageError("the file is missing") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            # RuntimeError: the member is encrypted. NotImplementedError is one too.
            raise UnreadableImageError(f"damaged in the .zip: {error}") from None

    return read
