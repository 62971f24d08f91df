"""The image files that a table names: where they are, and which cells name the same one."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from posixpath import isabs, join, normpath, split
from typing import NamedTuple
from unicodedata import normalize

from upath import UPath

from headstart.data.files.file_tree import folder_reader
from headstart.data.files.remote_tree import has_listing, read_remote, remote_names
from headstart.data.files.safe_reading import readable


class ImageFile(NamedTuple):
    """id: of the record. identity: the same for all cells that name one file."""

    id: str
    identity: str


class LocalImages:
    """Images on this machine; a cell is a path relative to a folder, an absolute one, or a URL."""

    def __init__(self, root: Path, follow_links: bool) -> None:
        """root: of the dataset. follow_links: whether links may lead out of it."""
        self._root = normpath(root.absolute())
        self._real_root = os.path.realpath(root)
        self._follow_links = follow_links
        self._files = cache(_files)
        self._elsewhere: dict[str, str] = {}
        self._read_file = folder_reader(root)

    def locate(self, folder: str, cell: str) -> ImageFile:
        """Finds the image that a cell names.

        folder: that the cell is relative to, relative to the root.

        Raises:
            ValueError: there is no such file, or it is outside of the root and the cell is
                relative, or a link leads there.
        """
        if "://" in cell:
            return ImageFile(cell, cell)
        path = normpath(join(self._root, folder, cell))
        is_inside = path.startswith(f"{self._root}/")
        if not is_inside and not isabs(cell):
            raise ValueError(f"'{cell}' leads out of {self._root}; give an absolute path there")
        parent, name = split(path)
        real_parent, files = self._files(parent)
        if name not in files:
            # Unicode has several encodings of one name, and macOS and Linux choose different ones.
            same = [normalize(form, name) for form in ("NFC", "NFD")]
            name = next((n for n in same if n in files), "")
            if not name:
                raise ValueError(f"there is no file '{cell}'")
            path = join(parent, name)
        real = join(real_parent, name)
        if files[name]:
            real = os.path.realpath(real)
        if is_inside and not self._follow_links and not real.startswith(f"{self._real_root}/"):
            raise ValueError(
                f"'{cell}' is behind a link that leads out of {self._root}; follow it with "
                "`dataset.follow_links: true`"
            )
        if is_inside:
            return ImageFile(path.removeprefix(f"{self._root}/"), real)
        id_ = path.lstrip("/")
        self._elsewhere[id_] = path
        return ImageFile(id_, real)

    def read(self, id_: str) -> bytes:
        """As `base.Dataset.read`."""
        if "://" in id_:
            return read_remote(UPath(id_))
        return self._read_file(self._elsewhere.get(id_, id_))


class RemoteImages:
    """Images beside a remote table; a cell is a path relative to a folder, or a URL."""

    def __init__(self, root: UPath) -> None:
        """Lists the root; raises UserError if that fails. A web server's files are not listed."""
        self._folder = root
        self._root = str(root).rstrip("/") + "/"
        self._files = set(remote_names(root, "dataset.path")) if has_listing(root) else None

    def locate(self, folder: str, cell: str) -> ImageFile:
        """Finds the image that a cell names; as `LocalImages.locate`."""
        relative = cell.removeprefix(self._root)
        if "://" in relative:
            return ImageFile(cell, cell)
        if relative == cell:
            relative = join(folder, cell)
        name = normpath(relative)
        if name.startswith(("/", "../")):
            raise ValueError(f"'{cell}' leads out of {self._root}; give a URL")
        if self._files is not None and name not in self._files:
            raise ValueError(f"there is no file '{cell}'")
        return ImageFile(name, name)

    def read(self, id_: str) -> bytes:
        """As `base.Dataset.read`."""
        return read_remote(UPath(id_) if "://" in id_ else self._folder / id_)


def _files(folder: str) -> tuple[str, dict[str, bool]]:
    """Returns a folder without links in its path, and for each of its files whether it is one."""
    files = {}
    with readable(Path(folder)), suppress(FileNotFoundError, NotADirectoryError):
        files = {file.name: file.is_symlink() for file in os.scandir(folder) if not file.is_dir()}
    return os.path.realpath(folder), files
