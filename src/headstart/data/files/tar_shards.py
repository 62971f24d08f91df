"""Files in uncompressed .tar archives, found in one pass and then read from where they are.

Nothing is written to disk. Archives may be remote.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from upath import UPath

from headstart.core.errors import UserError, first_line
from headstart.data.decoding import UnreadableImageError
from headstart.data.files.block_cache import BlockCache
from headstart.data.files.remote_tree import read_range
from headstart.data.files.safe_reading import check_size, readable

BLOCK_BYTES = 1 << 23
"""Images are read in blocks of about so many bytes: the next image is mostly in the same one."""

MAX_TEXT_BYTES = 1 << 20
"""Limit on the size of a label's file."""

_LISTING_BYTES = 1 << 22
"""A remote archive is listed in pieces of so many bytes, because headers are among the images."""


class TarMember(NamedTuple):
    """A regular file in an archive. start: its first byte. text: its content, if it was read."""

    name: str
    start: int
    size: int
    text: bytes | None


def list_members(path: Path | UPath, texts: tuple[str, ...]) -> Iterator[TarMember]:
    """Yields the regular files of a .tar in their order. Links and the like are passed over.

    texts: endings of the names of files that are read at once.

    Raises:
        UserError: the archive can't be read, is compressed, or is damaged; or a text is too large.
    """
    options: dict[str, Any] = {"block_size": _LISTING_BYTES} if isinstance(path, UPath) else {}
    with readable(path), path.open("rb", **options) as opened:
        try:
            with tarfile.open(fileobj=opened, mode="r:") as archive:  # pyright: ignore
                for member in archive:
                    if member.size < 0:  # which would lead back to members before it, for ever
                        raise tarfile.ReadError("a file has a negative size")
                    if not member.isreg() or member.issparse():
                        continue
                    text = None
                    if member.name.lower().endswith(texts):
                        text = _text(path, archive, member)
                    yield TarMember(member.name, member.offset_data, member.size, text)
        except UserError:
            raise
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise UserError(
                f"dataset.path: {path} can't be read as a .tar ({first_line(error)}); unpack it "
                "if it is compressed (`gunzip`), or copy or download it again"
            ) from None


def _text(path: Path | UPath, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_TEXT_BYTES:
        raise UserError(
            f"dataset.path: {path}: {member.name} has {member.size:,} bytes, too many for a label"
        )
    file = archive.extractfile(member)
    return file.read() if file else b""


class _Block(NamedTuple):
    path: Path | UPath
    start: int
    size: int


class TarImages:
    """Images in archives, read in blocks of neighbors."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, TarMember]] = {}
        self._spans: list[_Block] = []
        self._blocks: BlockCache[int, bytes] = BlockCache(self._load)

    def add(self, id_: str, path: Path | UPath, member: TarMember) -> None:
        """Adds an image, behind those of the same archive that were added before."""
        last = self._spans[-1] if self._spans else None
        end = member.start + member.size
        if last and last.path == path and end - last.start <= BLOCK_BYTES:
            self._spans[-1] = last._replace(size=end - last.start)
        else:
            self._spans.append(_Block(path, member.start, member.size))
        self._places[id_] = len(self._spans) - 1, member

    def read(self, id_: str) -> bytes:
        """Returns the bytes of an image.

        Raises:
            UnreadableImageError: the archive ends before the image does, or it is too large.
            UserError: the archive can't be read.
        """
        number, member = self._places[id_]
        check_size(member.size)
        start = member.start - self._spans[number].start
        data = self._blocks[number][start : start + member.size]
        if len(data) != member.size:
            raise UnreadableImageError("the archive has changed since it was listed")
        return data

    def _load(self, number: int) -> bytes:
        return read_range(*self._spans[number])
