import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, WebDataset
from headstart.data.decoding import UnreadableImageError
from headstart.data.files import tar_shards
from tests.data.datasets.layouts import tar, tars
from tests.pictures import encoded, noise

IMAGE = encoded(noise())


def load(path: Path, **options: Any) -> Dataset:
    return WebDataset(path=path, **options).load()


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as raised:
        load(path, **options)
    return str(raised.value)


def test_samples_come_in_their_order(tmp_path: Path):
    dataset = load(tars(tmp_path, "train", "val"))
    archives = ["train-0000.tar", "train-0001.tar", "val-0000.tar", "val-0001.tar"]
    assert [(r.id, r.label, r.split) for r in dataset.records] == [
        (f"{archive}/{i:06}.png", i % 3, archive.split("-")[0])
        for archive in archives
        for i in range(15)
    ]
    assert [c.name for c in dataset.classes] == ["0", "1", "2"]
    assert dataset.val_fraction is None
    for record in dataset.records:
        assert dataset.read(record.id) == encoded(noise(seed=int(record.id[-10:-4])))


def test_one_archive_and_some_of_a_folder(tmp_path: Path):
    tars(tmp_path)
    assert len(load(tmp_path / "shard-0001.tar").records) == 15
    some = load(tmp_path, files="shard-{0001..0001}.tar").records
    assert {record.id.split("/")[0] for record in some} == {"shard-0001.tar"}
    assert len(load(tmp_path, files="shard-{0000..0001}.tar").records) == 30
    assert "dataset.files: " in error_of(tmp_path, files="shard-{0000..0002}.tar")
    assert "holds no 'shrd-0000.tar'; did you mean 'shard-" in error_of(
        tmp_path, files="shrd-0000.tar"
    )


def test_names_of_classes(tmp_path: Path):
    tars(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\ndog\nox\n")
    dataset = load(tmp_path, classes=tmp_path / "classes.txt")
    assert [c.name for c in dataset.classes] == ["cat", "dog", "ox"]
    assert [r.label for r in dataset.records[:4]] == [0, 1, 2, 0]
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    message = error_of(tmp_path, classes=tmp_path / "classes.txt")
    assert "shard-0000.tar, 000002, shard-0000.tar, 000005" in message
    assert "(10 in all): unknown label '2'; valid: 0, 1, cat, dog" in message


def test_labels_and_groups_in_json_and_text(tmp_path: Path):
    files = []
    for i, name in enumerate(("cat", "dog", "cat", "dog")):
        described = {"label": name, "patient": i // 2}
        files += [(f"a.b/{i}.PNG", IMAGE), (f"a.b/{i}.json", json.dumps(described).encode())]
        files += [(f"a.b/{i}.txt", name.encode()), (f"a.b/{i}.mask.bin", b"x")]
    tar(tmp_path / "a.tar", *files)
    dataset = load(tmp_path, label="json.label", group="json.patient")
    assert [(r.label, r.group) for r in dataset.records] == [(0, "0"), (1, "0"), (0, "1"), (1, "1")]
    assert load(tmp_path, label="txt").records[1].label == 1
    with pytest.raises(ValueError, match=r"json\.label"):
        WebDataset(path=tmp_path, label="json")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("1.png", IMAGE), ("2.cls", b"0")], "a.tar, 2: there is no image, only .cls"),
        ([("1.png", IMAGE), ("1.jpg", IMAGE), ("1.cls", b"0")], "a.tar, 1: there are several"),
        ([("1.png", IMAGE)], "a.tar, 1: there is no label"),
        ([("1.png", IMAGE), ("1.cls", b"\xff")], "a.tar, 1: .cls can't be read as text"),
    ],
)
def test_a_wrong_sample_is_named(tmp_path: Path, files: list[tuple[str, bytes]], said: str):
    tar(tmp_path / "a.tar", ("0.png", IMAGE), ("0.cls", b"0"), *files)
    assert said in error_of(tmp_path)


def test_a_list_of_labels_is_an_error_that_says_so(tmp_path: Path):
    tar(tmp_path / "a.tar", ("0.png", IMAGE), ("0.json", b'{"label": ["cat", "dog"]}'))
    assert "an image has one label only" in error_of(tmp_path, label="json.label")


def test_a_pattern_as_the_path_is_told_where_it_belongs(tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"name the folder in path, and 'a-\{0\.\.9\}\.tar' in files"
    ):
        WebDataset(path=tmp_path / "a-{0..9}.tar")


def test_blocks_of_neighbors_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tar_shards, "BLOCK_BYTES", 6000)
    read = []
    read_range = tar_shards.read_range
    monkeypatch.setattr(
        tar_shards, "read_range", lambda *place: (read.append(place), read_range(*place))[1]
    )
    dataset = load(tars(tmp_path))
    for record in dataset.records:
        dataset.read(record.id)
    assert len(read) == len(set(read))
    assert 4 < len(read) < 20
    assert all(size <= 6000 for _, _, size in read)


def test_links_pipes_and_files_without_a_name_are_passed_over(tmp_path: Path):
    tar(tmp_path / "a.tar", ("0.png", IMAGE), ("0.cls", b"0"), ("README", b"x"), ("._0.png", b"x"))
    with tarfile.open(tmp_path / "a.tar", "a") as archive:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(f"{number}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert [record.id for record in load(tmp_path).records] == ["a.tar/0.png"]


@pytest.mark.parametrize(
    "damage", [lambda data: gzip.compress(data), lambda data: data[:3000], lambda _: b"no archive"]
)
def test_a_damaged_or_compressed_archive_is_an_error(tmp_path: Path, damage: Any):
    path = tar(tmp_path / "a.tar", ("0.png", bytes(9000)), ("0.cls", b"0"))
    path.write_bytes(damage(path.read_bytes()))
    assert "a.tar can't be read as a .tar" in error_of(tmp_path)


def test_a_negative_size_does_not_lead_back_for_ever(tmp_path: Path):
    path = tar(tmp_path / "a.tar", ("0.png", IMAGE), ("0.cls", b"0"))
    data = bytearray(path.read_bytes())
    cls = data.index(b"0.cls")
    data[cls + 124 : cls + 136] = b"\xff" * 10 + (-1024 % 65536).to_bytes(2, "big")
    data[cls + 148 : cls + 156] = b" " * 8
    data[cls + 148 : cls + 155] = b"%06o\0" % sum(data[cls : cls + 512])
    path.write_bytes(data)
    assert "a negative size" in error_of(tmp_path)


def test_an_archive_that_became_shorter(tmp_path: Path):
    path = tar(tmp_path / "a.tar", ("0.png", IMAGE), ("0.cls", b"0"))
    dataset = load(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(UnreadableImageError, match="has changed"):
        dataset.read("a.tar/0.png")


def test_a_label_of_a_gigabyte_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tar_shards, "MAX_TEXT_BYTES", 10)
    tar(tmp_path / "a.tar", ("0.png", IMAGE), ("0.cls", bytes(11)))
    assert "0.cls has 11 bytes, too many for a label" in error_of(tmp_path)
