"""What no dataset should hold: it may cost neither memory nor time, and is named."""

import os
import socket
import struct
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

import pytest

from headstart.core.errors import UserError
from headstart.data.datasets import ImageFolder
from headstart.data.decoding import UnreadableImageError
from headstart.data.files.file_tree import open_tree
from tests.data.datasets import layouts
from tests.pictures import encoded, noise, put

UNPACKED = 50_000_000


def declaring(archive: Path, name: str, size: int, crc: int) -> None:
    """Rewrites what the .zip says of a member, in front of it and in the directory."""
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        local = opened.getinfo(name).header_offset
    central = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    for at in (local + 14, central + 16):
        packed = data[at + 4 : at + 8]
        data[at : at + 12] = struct.pack("<I4sI", crc, packed, size)
    archive.write_bytes(data)


def test_a_member_that_unpacks_to_more_than_it_declares(tmp_path: Path):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/0.jpg", bytes(UNPACKED))
    tracemalloc.start()
    declaring(archive, "a/0.jpg", 1000, 0)
    with pytest.raises(UnreadableImageError, match=r"damaged in the \.zip: Bad CRC-32"):
        open_tree(archive).read("a/0.jpg")
    declaring(archive, "a/0.jpg", 1000, crc32(bytes(1000)))
    assert open_tree(archive).read("a/0.jpg") == bytes(1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < UNPACKED / 10


def test_a_member_that_declares_more_than_it_holds(tmp_path: Path):
    archive = layouts.zipped(layouts.image_folder(tmp_path / "x"), tmp_path / "x.zip")
    declaring(archive, "Kuh/4.png", 1000, 0)
    with pytest.raises(
        UnreadableImageError, match=r"doesn't have the 1000 bytes|damaged in the \.zip"
    ):
        open_tree(archive).read("Kuh/4.png")


def test_members_that_share_their_bytes(tmp_path: Path):
    """A .zip of some kilobytes that would unpack to as much as one likes."""
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/0.jpg", os.urandom(10_000))
        first = made.getinfo("a/0.jpg")
        for number in range(1, 9):
            member = zipfile.ZipInfo(f"a/{number}.jpg")
            for field in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
                setattr(member, field, getattr(first, field))
            made.filelist.append(member)
            made.NameToInfo[member.filename] = member
    with pytest.raises(UserError, match=r"x\.zip is made to unpack to more than it holds"):
        open_tree(archive)


def test_a_method_whose_unpacking_has_no_bound(tmp_path: Path):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_BZIP2) as made:
        made.writestr("a/0.jpg", bytes(1000))
    with pytest.raises(UserError, match=r"'a/0\.jpg' is not packed with deflate"):
        open_tree(archive)


@contextmanager
def pipe(path: Path) -> Iterator[None]:
    """A named pipe: who opens it to read it waits, here for two seconds and then in vain."""

    def end() -> None:
        with suppress(OSError):  # nobody reads it
            writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            path.unlink()
            os.close(writer)

    os.mkfifo(path)
    waiting = threading.Timer(2, end)
    waiting.start()
    try:
        yield
        assert waiting.is_alive()
    finally:
        waiting.cancel()


def test_a_pipe_is_no_image(tmp_path: Path):
    with (
        pipe(tmp_path / "odd.jpg"),
        pytest.raises(UnreadableImageError, match="not a regular file"),
    ):
        open_tree(tmp_path).read("odd.jpg")


def test_neither_is_a_device_nor_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "device.jpg").symlink_to("/dev/null")
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.jpg")
    for name in ("device.jpg", "socket.jpg"):
        with pytest.raises(UnreadableImageError, match="not a regular file"):
            open_tree(tmp_path).read(name)


def test_a_pipe_is_no_dataset(tmp_path: Path):
    with (
        pipe(tmp_path / "pipe"),
        pytest.raises(UserError, match="pipe is neither a folder nor a"),
    ):
        open_tree(tmp_path / "pipe")


def test_a_file_that_has_other_bytes_than_it_should(tmp_path: Path):
    (tmp_path / "0.jpg").symlink_to("/proc/self/status")  # 0 bytes, it says
    with pytest.raises(UnreadableImageError, match="doesn't have the 0 bytes that it should have"):
        open_tree(tmp_path).read("0.jpg")


def load(path: Path, follow_links: bool = False) -> list[str]:
    dataset = ImageFolder(path=path, follow_links=follow_links).load()
    return [record.id for record in dataset.records]


def test_links_out_of_the_folder_are_followed_only_if_asked(tmp_path: Path):
    root = layouts.image_folder(tmp_path / "x")
    elsewhere = layouts.image_folder(tmp_path / "elsewhere")
    inside = load(root)
    (root / "Kuh" / "inside.png").symlink_to("0.png")
    (root / "Kuh" / "README").symlink_to(elsewhere / "Kuh" / "0.png")
    assert load(root) == sorted([*inside, "Kuh/inside.png"])
    (root / "Ziege").symlink_to(elsewhere / "Kuh")
    (root / "Kuh" / "outside.png").symlink_to(elsewhere / "Kuh" / "0.png")
    with pytest.raises(UserError) as refused:
        load(root)
    assert str(refused.value).startswith(
        f"links lead out of {root} (2): 'Kuh/outside.png' to {elsewhere}/Kuh/0.png, "
        f"'Ziege' to {elsewhere}/Kuh; follow them with `dataset.follow_links: true`, or"
    )
    followed = load(root, follow_links=True)
    assert {"Kuh/outside.png", "Ziege/3.png"} <= set(followed)


def test_the_datasets_folder_may_be_a_link_itself(tmp_path: Path):
    root = layouts.image_folder(tmp_path / "x")
    (tmp_path / "linked").symlink_to(root)
    assert load(tmp_path / "linked") == load(root)


def test_a_sound_file_is_read_whole(tmp_path: Path):
    data = encoded(noise(64, 64))
    put(tmp_path / "x" / "a" / "0.png", data)
    archive = layouts.zipped(tmp_path / "x", tmp_path / "x.zip")
    for path in (tmp_path / "x", archive):
        assert open_tree(path).read("a/0.png") == data
