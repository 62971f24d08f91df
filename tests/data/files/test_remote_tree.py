"""Datasets behind URLs, on fsspec's memory and local file systems."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from headstart.config import DatasetOutline, Prepare
from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, ImageFolder, check_dataset, load_dataset
from headstart.data.decoding import UnreadableImageError
from headstart.data.files.remote_tree import READS
from headstart.data.preparation import prepare_dataset
from tests.data.datasets import layouts
from tests.pictures import put

LAYOUTS = {
    "image_folder": (lambda root: layouts.image_folder(root, "train", "val"), {}),
    "table": (layouts.table, {"image": "file", "label": "class"}),
    "webdataset": (lambda root: layouts.tars(root, "train", "val"), {}),
}


def load(name: str, path: object, **options: Any) -> Dataset:
    section = DatasetOutline.model_validate({"name": name, "path": path, **options})
    check_dataset(section)
    return load_dataset(section)


@pytest.fixture
def memory() -> Iterator[UPath]:
    root = UPath("memory://datasets")
    root.mkdir(parents=True, exist_ok=True)
    yield root
    root.fs.rm(root.path, recursive=True)


def upload(local: Path, remote: UPath) -> None:
    for file in local.rglob("*"):
        if file.is_file():
            remote.joinpath(file.relative_to(local).as_posix()).write_bytes(file.read_bytes())


@pytest.mark.parametrize("scheme", ["memory", "file"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_remote_dataset_is_the_local_one(tmp_path: Path, memory: UPath, name: str, scheme: str):
    make, options = LAYOUTS[name]
    path = make(tmp_path / "local")
    local = load(name, path, **options)
    if scheme == "memory":
        upload(tmp_path / "local", memory)
        url = f"{memory}/{path.relative_to(tmp_path / 'local').as_posix()}".rstrip("/.")
    else:
        url = f"file://{path}"
    remote = load(name, url, **options)
    assert remote.classes == local.classes
    assert remote.records == local.records
    assert remote.val_fraction == local.val_fraction
    assert (remote.reads_at_once, local.reads_at_once) == (READS, None)
    section = Prepare(
        tune_fraction=0.2, seed=0, on_bad_image="stop", max_pixels=1000, exclude=Path("x")
    )
    assert prepare_dataset(remote, section) == prepare_dataset(local, section)


def test_a_local_table_may_name_urls(tmp_path: Path, memory: UPath):
    put(tmp_path / "b.png", seed=2)
    memory.joinpath("a.png").write_bytes((tmp_path / "b.png").read_bytes())
    (tmp_path / "a.csv").write_text(f"file,class\n{memory}/a.png,cat\nb.png,dog\n")
    dataset = load("table", tmp_path / "a.csv", image="file", label="class")
    assert [record.id for record in dataset.records] == [f"{memory}/a.png", "b.png"]
    assert dataset.read(f"{memory}/a.png") == dataset.read("b.png")
    assert dataset.reads_at_once == READS


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("b.png", "row 2: there is no file 'b.png'"),
        ("../a.png", "row 2: '../a.png' leads out of memory://datasets/"),
        ("/etc/a.png", "row 2: '/etc/a.png' leads out of memory://datasets/"),
        (
            "memory://datasets/a.png",
            "row 3: 'a.png' is the image of row 2, so it is there with two",
        ),
    ],
)
def test_a_wrong_row_of_a_remote_table_is_named(memory: UPath, cell: str, said: str):
    memory.joinpath("a.png").write_bytes(b"x")
    memory.joinpath("a.csv").write_text(f"file,class\n{cell},cat\na.png,dog\n")
    with pytest.raises(UserError) as raised:
        load("table", f"{memory}/a.csv", image="file", label="class")
    assert said in str(raised.value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_url_without_anything_behind_it(name: str):
    with pytest.raises(UserError, match=r"^dataset\.path: memory://nowhere doesn't exist"):
        load(name, "memory://nowhere", **LAYOUTS[name][1])


def test_an_unknown_file_system_is_named():
    with pytest.raises(ValueError, match="unknown file system 's4'; did you mean 's3'"):
        ImageFolder(path="s4://bucket/folder")  # type: ignore


def test_a_web_server_lists_no_folders():
    with pytest.raises(UserError, match=r"lists no folders; name a table"):
        load("image_folder", "https://example.org/images")


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch, memory: UPath):
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory.fs), "find", missing)
        with pytest.raises(UserError, match="needs its driver: Install s3fs"):
            ImageFolder(path=memory).load()  # type: ignore


def test_a_missing_image_is_unreadable_but_a_failing_network_stops(
    monkeypatch: pytest.MonkeyPatch, memory: UPath, tmp_path: Path
):
    upload(layouts.image_folder(tmp_path), memory)
    dataset = load("image_folder", memory)
    memory.joinpath("Hund/0.png").unlink()
    with pytest.raises(UnreadableImageError, match="the file is missing"):
        dataset.read("Hund/0.png")

    def failing(*_: object, **__: object) -> None:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(type(memory.fs), "_open", failing)
    with pytest.raises(UserError, match=r"can't be read .* check the address"):
        dataset.read("Hund/1.png")
