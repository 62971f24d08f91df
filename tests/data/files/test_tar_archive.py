import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.core.errors import UserError
from headstart.data.decoding import UnreadableImageError
from headstart.data.files import tar_archive
from headstart.data.files.tar_archive import open_tar


def tgz(path: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(data), kind, "/etc/passwd"
            archive.addfile(member, io.BytesIO(data))
    return path


def test_lists_and_reads_its_files(tmp_path: Path):
    path = tgz(tmp_path / "a.tgz", ("./b/2.txt", b"two"), ("a/1.txt", b"one"), ("a/._1.txt", b"x"))
    tree = open_tar(path)
    assert tree.names == ["a/1.txt", "b/2.txt"]
    assert tree.read("b/2.txt") == b"two"
    assert tree.subtree("a/").text("1.txt") == "one"
    with pytest.raises(UnreadableImageError, match="the file is missing"):
        tree.read("a/3.txt")


def test_writes_nothing_wherever_its_members_point(tmp_path: Path):
    (tmp_path / "in").mkdir()
    path = tgz(tmp_path / "in" / "a.tgz", ("../evil.txt", b"x"), ("/evil.txt", b"x"))
    open_tar(path)
    assert [file.name for file in tmp_path.rglob("*")] == ["in", "a.tgz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_pipes_are_passed_over(tmp_path: Path, kind: bytes):
    assert open_tar(tgz(tmp_path / "a.tgz", ("a/1.txt", b""), kind=kind)).names == []


def test_one_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tar_archive, "MAX_BYTES", 1000)
    path = tgz(tmp_path / "a.tgz", ("a", bytes(600)), ("b", bytes(600)))
    with pytest.raises(UserError, match=r"^dataset\.path: .*a\.tgz unpacks to more than 1,000"):
        open_tar(path)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "no archive": lambda _: b"no archive",
    "cut in its header": lambda data: data[:100],
    "cut in its content": lambda data: data[:5000],
    "one bit is another": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_an_error(tmp_path: Path, damage: str):
    path = tgz(tmp_path / "a.tgz", ("a", random.Random(0).randbytes(9000)))
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(UserError, match=r"can't be read as a \.tgz .*; copy or download it again"):
        open_tar(path)


def test_one_that_is_not_there(tmp_path: Path):
    with pytest.raises(UserError, match=r"^dataset\.path: .*b\.tgz doesn't exist"):
        open_tar(tmp_path / "b.tgz")
