from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import UserError
from headstart.data.manifest import Entry, Manifest, load_manifest, save_manifest
from headstart.store.examples import SPLITS, ClassLabel
from headstart.store.shards import find_shards, shard_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
ENTRIES = st.builds(
    Entry,
    id=TEXT,
    split=st.sampled_from(SPLITS),
    label=st.none() | st.integers(0, 9),
    width=st.integers(1, 9999),
    height=st.integers(1, 9999),
    boxes=st.lists(st.tuples(*[st.floats(0, 999) | st.integers(0, 9)] * 4), max_size=3).map(tuple),
    group=st.none() | TEXT,
)
MANIFESTS = st.builds(
    Manifest,
    classes=st.lists(st.builds(ClassLabel, id=TEXT, name=TEXT)),
    entries=st.lists(ENTRIES, unique_by=lambda entry: entry.id),
)


@given(MANIFESTS)
def test_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest):
    path = tmp_path_factory.mktemp("manifest") / "new" / "manifest.jsonl"
    save_manifest(path, manifest)
    assert load_manifest(path) == manifest
    assert [file.name for file in path.parent.iterdir()] == ["manifest.jsonl"]


def test_one_readable_line_an_image(tmp_path: Path):
    path = tmp_path / "manifest.jsonl"
    entry = Entry("val/kün/ö.png", "val", 0, 4, 3, ((0, 1, 2.5, 3),), "Kün", "0a")
    save_manifest(path, Manifest([ClassLabel("kün", "kün")], [entry]))
    assert path.read_bytes().decode() == (
        '{"classes": [["kün", "kün"]]}\n'
        '{"id": "val/kün/ö.png", "split": "val", "label": 0, "width": 4, "height": 3, '
        '"boxes": [[0, 1, 2.5, 3]], "group": "Kün", "content": "0a"}\n'
    )


def test_an_id_twice_is_an_error(tmp_path: Path):
    path = tmp_path / "manifest.jsonl"
    save_manifest(path, Manifest([], [Entry("a/1.png", "val", 0, 4, 3)]))
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(UserError, match=r"1 ids stand for more than one image: 'a/1\.png'"):
        load_manifest(path)


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"PK\x03\x04", b'{"classes": []}\n{"id": 1}\n', b"\xff"]
)
def test_a_file_that_is_not_a_manifest(tmp_path: Path, content: bytes):
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a manifest; delete it and run `dvc repro`"):
        load_manifest(path)


def test_a_missing_manifest(tmp_path: Path):
    with pytest.raises(UserError, match="is missing; `dvc repro` makes it"):
        load_manifest(tmp_path / "manifest.jsonl")


@given(MANIFESTS)
def test_shards_divide_the_entries(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest):
    path = tmp_path_factory.mktemp("manifest") / "manifest.jsonl"
    save_manifest(path, manifest)
    save_manifest(path, manifest, 3)
    shards = [load_manifest(file) for file in find_shards(path)]
    assert [shard.classes for shard in shards] == [manifest.classes] * 3
    for number, shard in enumerate(shards):
        own = [entry for entry in manifest.entries if shard_of(entry.id, 3) == number]
        assert shard.entries == own
