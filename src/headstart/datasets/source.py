"""Files of a dataset, from a folder or straight from a .zip; nothing is unpacked."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from headstart.decode import BadImage
from headstart.errors import UserError

MAX_FILE_BYTES = 1 << 29
"""No image file is larger; a .zip's member that unpacks to more is an attack."""

# The second line's can't be decoded here; they are images all the same, and reported as bad.
IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"),
    *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg"),
)


@dataclass(frozen=True)
class Source:
    """A tree of files.

    names: sorted, relative to the tree's root, `/` between parts; a folder's ends in `/`. Hidden
    files are not among them. read: a name to the file's bytes; raises BadImage where it can't.
    """

    path: Path
    names: list[str]
    read: Callable[[str], bytes]

    def within(self, folder: str) -> "Source":
        """The tree below `folder`, whose name ends in `/` (or is empty: this tree)."""
        names = [name.removeprefix(folder) for name in self.names if name.startswith(folder)]
        return Source(
            self.path / folder, [n for n in names if n], lambda name: self.read(folder + name)
        )

    def text(self, name: str) -> str:
        """A text file's content.

        Raises:
            UserError: it is missing or not UTF-8.
        """
        try:
            return self.read(name).decode("utf-8")
        except (BadImage, UnicodeDecodeError) as error:
            raise UserError(f"{self.path / name} can't be read: {error}") from None


def open_source(path: Path, key: str = "dataset.path") -> Source:
    """The folder or .zip at `path`, which a user named as `key`.

    Raises:
        UserError: it is neither, or can't be read; a name in it is not Unicode, or stands there
            twice.
    """
    with _readable(path, key):
        names, read = _opened(path, key)
    names.sort()
    for name, following in pairwise(names):
        if name == following:
            raise UserError(f"{path} holds '{name}' twice; make the .zip anew")
    for name in names:
        if not _encodable(name):
            raise UserError(f"{path}: the name {name!a} is not UTF-8; rename the file")
    return Source(path, names, read)


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
        with path.open("rb"):  # is_zipfile would take what may not be read for another kind of file
            pass
        if not zipfile.is_zipfile(path):
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


def _opened(path: Path, key: str) -> tuple[list[str], Callable[[str], bytes]]:
    """The names in the folder or .zip at `path`, unsorted, and what reads them."""
    check(path, key)
    if path.is_dir():
        return list(_walk(path, "", frozenset())), _folder_reader(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UserError(
            f"{key}: {path} is a damaged .zip ({error}); copy or download it again"
        ) from None
    return list(_zip_names(archive)), _zip_reader(archive)


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[str]:
    """Names below `folder`. Linked folders are entered, those that lead back up are not."""
    above |= {folder.resolve()}
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield prefix + entry.name
        elif entry.resolve() not in above:
            yield f"{prefix}{entry.name}/"
            yield from _walk(entry, f"{prefix}{entry.name}/", above)


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


def _folder_reader(folder: Path) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        path = folder / name
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise BadImage(f"the file is larger than {MAX_FILE_BYTES} bytes")
            return path.read_bytes()
        except FileNotFoundError:
            raise BadImage("the file is missing") from None
        except OSError as error:
            raise BadImage(f"the file can't be read: {error.strerror}") from None

    return read


def _zip_reader(archive: zipfile.ZipFile) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        try:
            if archive.getinfo(name).file_size > MAX_FILE_BYTES:
                raise BadImage(f"the file is larger than {MAX_FILE_BYTES} bytes")
            return archive.read(name)
        except KeyError:
            raise BadImage("the file is missing") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            # RuntimeError: the member is encrypted. NotImplementedError is one too.
            raise BadImage(f"damaged in the .zip: {error}") from None

    return read
