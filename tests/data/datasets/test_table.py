import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.config import Prepare
from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, Table, embedded_images
from headstart.data.decoding import UnreadableImageError
from headstart.data.preparation import prepare_dataset
from tests.pictures import encoded, noise, put

ROWS = [
    {"file": f"{split}/{i}.png", "kind": "cat" if i % 2 else "dog", "part": split, "who": f"p{i}"}
    for split, images in (("train", 4), ("val", 2), ("test", 2))
    for i in range(images)
]
COLUMNS = {"image": "file", "label": "kind", "split": "part", "group": "who"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with the images of ROWS."""
    for seed, row in enumerate(ROWS):
        put(tmp_path / row["file"], seed=seed)
    return tmp_path


def write(path: Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    """Writes a table in the format that `path` ends in."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


def load(path: Path, **options: Any) -> Dataset:
    return Table(path=path, **{**COLUMNS, **options}).load()


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as raised:
        load(path, **options)
    return str(raised.value)


def changed(row: int, **cells: Any) -> list[dict[str, Any]]:
    """ROWS with other cells in one row."""
    return [{**content, **cells} if i == row else content for i, content in enumerate(ROWS)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "A.CSV"])
def test_every_format_gives_the_same(images: Path, name: str):
    dataset = load(write(images / name))
    assert [c.name for c in dataset.classes] == ["cat", "dog"]
    assert [(r.id, r.label, r.split, r.group) for r in dataset.records] == [
        (row["file"], ["cat", "dog"].index(row["kind"]), row["part"], row["who"]) for row in ROWS
    ]
    assert dataset.val_fraction is None
    for record in dataset.records:
        assert dataset.read(record.id) == (images / record.id).read_bytes()


def test_a_table_without_splits_is_train_and_val_is_held_out(images: Path):
    dataset = load(write(images / "test.csv"), split=None, group=None, val_fraction=0.3)
    assert {record.split for record in dataset.records} == {"train"}
    assert {record.group for record in dataset.records} == {None}
    assert dataset.val_fraction == 0.3


def test_spaces_a_byte_order_mark_quotes_and_spellings_of_splits(images: Path):
    (images / "a.csv").write_text(
        '\ufefffile,kind,part,caption\n train/0.png , cat ,Training,"a, ""b""\nc"\n'
        "train/1.png,dog,train,\nval/0.png,cat,validation,x\ntest/0.png,,testing,x\n",
        "utf-8",
    )
    dataset = load(images / "a.csv", group=None)
    assert [(r.label, r.split) for r in dataset.records] == [
        *((0, "train"), (1, "train"), (0, "val"), (None, "test"))
    ]


def test_numbers_are_classes_in_their_order(images: Path):
    rows = [{**row, "kind": [10, 9, 2.0, None][i % 4]} for i, row in enumerate(ROWS[:6])]
    rows[3]["kind"] = rows[5]["kind"] = 9.0
    for name in ("a.parquet", "a.jsonl"):
        dataset = load(write(images / name, [{**r, "kind": float(r["kind"])} for r in rows]))
        assert [c.name for c in dataset.classes] == ["2", "9", "10"]


def test_an_image_beside_another_folders_table(images: Path, tmp_path: Path):
    (tmp_path / "tables").mkdir()
    table = write(tmp_path / "tables" / "a.csv")
    assert "there is no file 'train/0.png'" in error_of(table)
    assert load(table, folder=images).records == load(write(images / "a.csv")).records


def test_the_folder_of_hugging_faces_imagefolder(images: Path):
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        (images / split).rename(images / name)
        rows = [
            {"file": Path(r["file"]).name, "kind": r["kind"]} for r in ROWS if r["part"] == split
        ]
        write(images / name / "metadata.csv", rows)
    dataset = load(images, split=None, group=None)
    assert [(r.id, r.split) for r in dataset.records[:4]] == [
        *(("test/0.png", "test"), ("test/1.png", "test")),
        *(("train/0.png", "train"), ("train/1.png", "train")),
    ]
    assert dataset.read("validation/1.png") == (images / "validation" / "1.png").read_bytes()
    assert dataset.val_fraction is None


def hub_shard(path: Path, first: int, labels: list[int], *, path_names: bool = True) -> None:
    """A file as `datasets` writes it: bytes, names of classes in the metadata, row groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {
            "bytes": encoded(noise(seed=first + i)),
            "path": f"{first + i}.png" if path_names else None,
        }
        for i in range(len(labels))
    ]
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    }
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
        ],
        metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode()},
    )
    table = pa.table({"image": images, "label": labels}, schema=schema)
    pq.write_table(table, path, row_group_size=2)


HUB = {"image": "image", "label": "label", "split": None, "group": None}


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    hub_shard(tmp_path / "data" / "train-00000-of-00002.parquet", 0, [0, 1, 1])
    hub_shard(tmp_path / "data" / "train-00001-of-00002.parquet", 3, [1, 0])
    hub_shard(tmp_path / "data" / "validation-00000-of-00001.parquet", 5, [0, 1])
    hub_shard(tmp_path / "data" / "test-00000-of-00001.parquet", 7, [-1, -1], path_names=False)
    return tmp_path


def test_shards_of_the_hub_are_read_as_they_lie(hub: Path):
    dataset = load(hub, **HUB)
    assert [c.name for c in dataset.classes] == ["cat", "dog"]
    assert [(r.id.removeprefix("data/"), r.label, r.split) for r in dataset.records] == [
        ("test-00000-of-00001.parquet/0", None, "test"),
        ("test-00000-of-00001.parquet/1", None, "test"),
        ("train-00000-of-00002.parquet/0/0.png", 0, "train"),
        ("train-00000-of-00002.parquet/1/1.png", 1, "train"),
        ("train-00000-of-00002.parquet/2/2.png", 1, "train"),
        ("train-00001-of-00002.parquet/0/3.png", 1, "train"),
        ("train-00001-of-00002.parquet/1/4.png", 0, "train"),
        ("validation-00000-of-00001.parquet/0/5.png", 0, "val"),
        ("validation-00000-of-00001.parquet/1/6.png", 1, "val"),
    ]
    seeds = [7, 8, *range(7)]
    for record, seed in reversed(list(zip(dataset.records, seeds, strict=True))):
        assert dataset.read(record.id) == encoded(noise(seed=seed))


def test_one_file_of_bytes_without_names(tmp_path: Path):
    table = pa.table(
        {"image": [encoded(noise(seed=i)) for i in range(4)] + [None], "label": [*"abab", "a"]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    dataset = load(tmp_path / "a.parquet", **HUB)
    assert [r.id for r in dataset.records[:2]] == ["a.parquet/0", "a.parquet/1"]
    assert dataset.read("a.parquet/2") == encoded(noise(seed=2))
    with pytest.raises(UnreadableImageError, match="holds no bytes"):
        dataset.read("a.parquet/4")


def test_a_row_group_that_is_too_large_is_refused(hub: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded_images, "MAX_ROW_GROUP_BYTES", 100)
    assert "write the file with row groups of about 100 rows" in error_of(hub, **HUB)


def test_shards_must_have_the_same_classes_and_all_a_split_in_their_names(hub: Path):
    write(hub / "data" / "more.parquet", [{"image": b"x", "label": 1}])
    assert "doesn't have the same classes" in error_of(hub, **HUB)
    hub_shard(hub / "data" / "more.parquet", 9, [0])
    assert "'data/more.parquet', whose name says no split" in error_of(hub, **HUB)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (changed(1, kind=" "), "row 3: there is no label; only images in test may have none"),
        (changed(1, file=""), "row 3: there is no path of an image"),
        (changed(4, part="vla"), "row 6: unknown split 'vla'; did you mean 'val'?"),
        (changed(4, part=""), "row 6: there is no split"),
        (changed(2, file="train/9.png"), "row 4: there is no file 'train/9.png'"),
        (changed(2, file="train"), "row 4: there is no file 'train'"),
        (changed(2, file="../x.png"), "row 4: '../x.png' leads out of"),
        (
            changed(2, file="train/0.png"),
            "row 4: 'train/0.png' is the image of row 2, so it is there twice",
        ),
        (
            changed(3, file="val/../train/0.png"),
            "is there with two labels, 'dog' and 'cat'; delete one row",
        ),
    ],
)
def test_a_wrong_row_is_named(images: Path, rows: list[dict[str, Any]], said: str):
    message = error_of(write(images / "a.csv", rows))
    assert said in message
    assert "a.csv has 1 wrong row (row 1 is the first line" in message


def test_an_absolute_and_a_relative_path_of_one_file(images: Path):
    table = write(images / "a.parquet", changed(2, file=str(images / "train" / "0.png")))
    assert "row 3: " in error_of(table)
    assert "is the image of row 1, so it is there twice" in error_of(table)
    absolute = [{**row, "file": str(images / row["file"])} for row in ROWS]
    assert [r.id for r in load(write(images / "b.csv", absolute)).records] == [
        row["file"] for row in ROWS
    ]


def test_absolute_paths_may_lead_elsewhere(images: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.png"
    put(elsewhere, seed=99)
    dataset = load(write(images / "a.csv", changed(0, file=str(elsewhere))))
    assert dataset.records[0].id == str(elsewhere)[1:]
    assert dataset.read(dataset.records[0].id) == elsewhere.read_bytes()


def test_links_out_of_the_folder_are_followed_only_if_that_is_wanted(
    images: Path, tmp_path_factory: pytest.TempPathFactory
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (images / "train").rename(elsewhere / "train")
    (images / "train").symlink_to(elsewhere / "train")
    (images / "val" / "0.png").rename(elsewhere / "0.png")
    (images / "val" / "0.png").symlink_to(elsewhere / "0.png")
    table = write(images / "a.csv")
    message = error_of(table)
    assert "5 wrong rows" in message
    assert "dataset.follow_links: true" in message
    dataset = load(table, follow_links=True)
    assert dataset.read("val/0.png") == (elsewhere / "0.png").read_bytes()


def test_a_name_in_another_encoding_of_unicode_is_found(images: Path):
    put(images / "Ku\u0308he.png", seed=5)
    dataset = load(write(images / "a.csv", changed(0, file="K\u00fche.png")))
    assert dataset.read(dataset.records[0].id) == (images / "Ku\u0308he.png").read_bytes()


def test_all_problems_are_counted_and_some_are_shown(images: Path):
    rows = [{**ROWS[0], "part": "trian"}] * 7 + [{**ROWS[1], "file": f"{i}.png"} for i in range(40)]
    lines = error_of(write(images / "a.csv", rows)).splitlines()
    assert lines[0].startswith(f"dataset.path: {images / 'a.csv'} has 53 wrong rows")
    assert lines[1].startswith("  row 2, row 3, row 4, row 5, row 6, … (7 in all): unknown split")
    assert len(lines) == 22
    assert lines[-1] == "  and 22 more"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label": "kinds"}, "dataset.label: {} has no column 'kinds'; did you mean 'kind'?"),
        ({"group": "x", "split": "y"}, "dataset.split: {} has no column 'y'; valid: file, kind"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_missing_columns_are_named(images: Path, name: str, options: dict[str, str], said: str):
    table = write(images / name)
    message = error_of(table, **options)
    assert said.format(table) in message
    assert len(message.splitlines()) == len(options)
    with pytest.raises(UserError, match="has no column"):
        Table(path=table, **{**COLUMNS, **options}).check()  # type: ignore


def test_a_list_of_labels_is_an_error_that_says_so(images: Path):
    rows = [{**row, "kind": [row["kind"]]} for row in ROWS]
    for name in ("a.parquet", "a.jsonl"):
        message = error_of(write(images / name, rows))
        assert "has lists of labels; an image has one label only" in message


def test_fractions_are_no_classes(images: Path):
    message = error_of(write(images / "a.parquet", [{**r, "kind": 0.5} for r in ROWS]))
    assert "has numbers with fractions there" in message


def test_classes_without_training_images_are_named(images: Path):
    message = error_of(write(images / "a.csv", changed(4, kind="cta")))
    assert "has no image in train of 1 of 3 classes: 'cta'" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"file,kind,part,who\nx,y\n"),
        ("a.csv", b"file,kind,part,who\n\xff\xfe,y,z,a\n"),
        ("a.jsonl", b"no json"),
        ("a.parquet", b"PAR1 and no more"),
    ],
)
def test_a_damaged_table_is_an_error(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    assert "is damaged: " in error_of(tmp_path / name)


def test_a_path_without_a_table(tmp_path: Path, images: Path):
    assert "doesn't exist; name a table" in error_of(tmp_path / "a.csv")
    assert "is no table; one ends in .csv" in error_of(images / "train" / "0.png")
    assert "holds no table" in error_of(images)
    write(images / "a.csv")
    assert len(load(images).records) == len(ROWS)
    write(images / "b.csv")
    assert "holds several tables: a.csv, b.csv" in error_of(images)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_table_that_may_not_be_read(images: Path):
    write(images / "a.csv").chmod(0)
    assert "give yourself permission" in error_of(images / "a.csv")


SECTION = Prepare(
    tune_fraction=0.25, seed=0, on_bad_image="stop", max_pixels=1000, exclude=Path("x")
)
GROUPS = st.lists(st.tuples(st.integers(0, 2), st.none() | st.integers(0, 8)), max_size=30)


@given(rows=GROUPS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_groups_of_a_table_are_never_divided(tmp_path: Path, rows: list[tuple[int, int | None]]):
    """Whatever the groups; three more of each class make every split possible."""
    rows = [*rows, *((label, 100 + 10 * label + i) for label in range(3) for i in range(9))]
    table = tmp_path / "a.csv"
    lines = []
    for number, (label, group) in enumerate(rows):
        if not (tmp_path / f"{number}.png").exists():
            put(tmp_path / f"{number}.png", seed=number)
        lines.append(
            {"file": f"{number}.png", "kind": str(label), "who": "" if group is None else group}
        )
    prepared = prepare_dataset(load(write(table, lines), split=None), SECTION)
    split_of: dict[str, str] = {}
    for entry in prepared.manifest.entries:
        if entry.group is not None:
            assert split_of.setdefault(entry.group, entry.split) == entry.split
    assert {entry.split for entry in prepared.manifest.entries} == {"train", "tune", "val"}
