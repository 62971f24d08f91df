from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.config import Prepare
from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, Record
from headstart.data.decoding import UnreadableImageError
from headstart.data.preparation import prepare_dataset
from headstart.store.examples import ClassLabel

SECTION = Prepare(
    tune_fraction=0.25,
    seed=3,
    on_bad_image="stop",
    max_pixels=1000,
    exclude=Path("excluded.tsv"),
)


def picture(content: str) -> bytes:
    """An image of 12 x 9 px; other for each `content`."""
    return b"P6 12 9 255\n" + sha256(content.encode()).digest() * 10 + bytes(4)


def dataset(train: list[int], val: int = 1, test: int = 0) -> Dataset:
    """`train[c]` training images of each class c."""
    records = [Record(f"test/{i}", None, "test") for i in range(test)]
    for label, count in enumerate(train):
        records += [Record(f"train/{label}/{i}", label, "train") for i in range(count)]
        records += [Record(f"val/{label}/{i}", label, "val") for i in range(val)]
    return Dataset([ClassLabel(str(c), f"class {c}") for c in range(len(train))], records, picture)


def splits(classes: dict[str, list[str]], *, seed: int = 3) -> dict[str, dict[str, str]]:
    """The contents of each class's images to the splits of a dataset that has no val."""
    contents = {f"{name}/{i}": c for name, of in classes.items() for i, c in enumerate(of)}
    records = [
        Record(id_, label, "train")
        for label, (name, of) in enumerate(classes.items())
        for id_ in (f"{name}/{i}" for i in range(len(of)))
    ]
    given_ = Dataset(
        [ClassLabel(name, name) for name in classes],
        records,
        lambda id_: picture(contents[id_]),
        val_fraction=0.2,
        seed=seed,
    )
    splits_by_class: dict[str, dict[str, str]] = {name: {} for name in classes}
    for entry in prepare_dataset(given_, SECTION).manifest.entries:
        split = splits_by_class[entry.id.split("/")[0]].setdefault(contents[entry.id], entry.split)
        assert split == entry.split, "copies stand in different splits"
    return splits_by_class


def moved(before: dict[str, str], after: dict[str, str]) -> int:
    return sum(after[content] != split for content, split in before.items() if content in after)


CONTENTS = st.sets(st.text(max_size=4), min_size=3, max_size=30).map(sorted)


@given(st.lists(st.integers(2, 30), min_size=2, max_size=4))
def test_tune_is_a_stratified_slice_of_train_alone(train: list[int]):
    prepared = prepare_dataset(dataset(train, val=2, test=3), SECTION)
    assert not prepared.unreadable
    entries = prepared.manifest.entries
    counts = Counter((entry.split, entry.label) for entry in entries)
    for label, n in enumerate(train):
        assert counts["tune", label] == min(max(round(n / 4), 1), n - 1)
        assert counts["tune", label] + counts["train", label] == n
        assert counts["val", label] == 2
    assert counts["test", None] == 3
    assert all(e.id.startswith("train/") for e in entries if e.split == "tune")


@given(CONTENTS, CONTENTS)
def test_val_and_tune_are_stratified_slices_where_there_is_no_val(one, other):
    for of_class in splits({"one": one, "other": other}).values():
        counts = Counter(of_class.values())
        n = len(of_class)
        assert counts["val"] == min(max(round(n / 5), 1), n - 1)
        rest = n - counts["val"]
        assert counts["tune"] == min(max(round(rest / 4), 1), rest - 1)
        assert counts["train"] >= 1


@given(CONTENTS, CONTENTS, st.randoms())
def test_renaming_every_file_and_class_moves_nothing(one, other, random):
    before = splits({"one": one, "other": other})
    random.shuffle(one)
    after = splits({"a new name": other, "eins": one})
    assert (after["eins"], after["a new name"]) == (before["one"], before["other"])


@given(CONTENTS, CONTENTS, st.sets(st.text(min_size=5, max_size=9), min_size=1, max_size=5))
def test_an_image_moves_at_most_one_other_at_each_boundary(one, other, added):
    before, after = (splits({"one": c, "other": other}) for c in (one, [*one, *added]))
    assert moved(before["one"], after["one"]) <= 2 * len(added)
    assert before["other"] == after["other"]
    # With two seeds val and tune are cut from two orders: what val gave back moves others in tune.
    before, after = (splits({"one": c, "other": other}, seed=4) for c in (one, [*one, *added]))
    assert moved(before["one"], after["one"]) <= 3 * len(added)


@given(CONTENTS, CONTENTS, st.text(min_size=5, max_size=9))
def test_relabeling_an_image_moves_at_most_two_others_in_each_class(one, other, relabeled):
    before = splits({"one": [*one, relabeled], "other": other})
    after = splits({"one": one, "other": [*other, relabeled]})
    assert moved(before["one"], after["one"]) <= 2
    assert moved(before["other"], after["other"]) <= 2


@given(CONTENTS, CONTENTS, st.data())
def test_copies_of_a_file_stay_together_and_count_once(one, other, data):
    copies = data.draw(st.lists(st.sampled_from(one), max_size=5))
    assert splits({"one": [*one, *copies], "other": other}) == splits({"one": one, "other": other})


GROUPED = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 12), st.none() | st.integers(0, 6)), min_size=40
)
"""Labels, contents and groups of images, some of which are copies."""


def grouped(images: Sequence[tuple[int, int, int | None]], **changes: Any) -> Dataset:
    """A dataset of `images` in train, and nine more of each class, enough for every split."""
    images = [
        *images,
        *((label, 100 + label * 9 + i, None) for label in range(3) for i in range(9)),
    ]
    contents = {f"{number}.png": str(image[1]) for number, image in enumerate(images)}
    records = [
        Record(id_, label, "train", group=None if group is None else f"author {group}")
        for id_, (label, _, group) in zip(contents, images, strict=True)
    ]
    made = Dataset(
        [ClassLabel(name, name) for name in "abc"],
        records,
        lambda id_: picture(contents[id_]),
        val_fraction=0.3,
    )
    return replace(made, **changes)


@given(GROUPED)
def test_a_group_and_the_copies_of_a_file_stay_together_in_every_split(
    images: list[tuple[int, int, int | None]],
):
    prepared = prepare_dataset(grouped(images), SECTION)
    split_of: dict[object, str] = {}
    for entry in prepared.manifest.entries:
        content = entry.content
        for together in ((entry.label, content), entry.group):
            if together is not None:
                assert split_of.setdefault(together, entry.split) == entry.split
    assert set(split_of.values()) == {"train", "tune", "val"}


def test_what_groups_keep_from_being_balanced_is_said():
    sizes = {"a": 7, "b": 9}
    records = [
        Record(f"{name}/{group}/{i}", label, "train", group=f"{name}{group}")
        for label, (name, size) in enumerate(sizes.items())
        for group in range(3)
        for i in range(size)
    ]
    classes = [ClassLabel(name, name) for name in sizes]
    given_ = Dataset(classes, records, picture, val_fraction=0.2)
    assert prepare_dataset(given_, SECTION).remarks == [
        f"{split} has {share} ('a') to {share} ('b') of each class's images instead of {wanted}, "
        "because groups stay together"
        for split, share, wanted in (("val", "33.3%", "20.0%"), ("tune", "50.0%", "25.0%"))
    ]


def test_groups_of_one_image_change_no_share_and_are_not_remarked():
    images = [(label, 10 * label + i, 10 * label + i) for label in range(3) for i in range(8)]
    assert prepare_dataset(grouped(images), SECTION).remarks == []


def test_a_group_that_the_dataset_itself_divides_is_said():
    divided = Record("another.png", 0, "val", group="author 1")
    given_ = grouped([(0, 1, 1)] * 40, val_fraction=None)
    more = [Record(f"val/{label}.png", label, "val") for label in range(3)]
    given_ = replace(given_, records=[*given_.records, *more, divided], read=picture)
    [remark] = prepare_dataset(given_, SECTION).remarks[:1]
    assert remark == "the dataset's own splits divide 1 of 1 groups: 'author 1'"


def test_a_class_with_a_single_group_is_an_error_that_names_groups():
    records = [Record(f"{c}/{i}", c, "train", group=str(c)) for c in range(2) for i in range(5)]
    given_ = Dataset([ClassLabel(str(c), str(c)) for c in range(2)], records, picture)
    with pytest.raises(UserError, match="Images of one group count as one"):
        prepare_dataset(given_, SECTION)


def test_the_order_is_the_datasets_and_the_size_the_images():
    given_ = dataset([3, 3])
    prepared = prepare_dataset(given_, SECTION)
    entries = prepared.manifest.entries
    assert [entry.id for entry in entries] == [record.id for record in given_.records]
    assert {(entry.width, entry.height) for entry in entries} == {(12, 9)}
    assert [e.content for e in entries] == [sha256(picture(e.id)).hexdigest() for e in entries]


def test_all_unreadable_images_are_reported_at_once():
    def read(id_: str) -> bytes:
        if id_.endswith("/1"):
            raise UnreadableImageError("the file is missing")
        return b"" if id_ == "val/0/0" else picture(id_)

    given_ = replace(dataset([9, 9]), read=read)
    with pytest.raises(UserError) as stopped:
        prepare_dataset(given_, SECTION)
    assert str(stopped.value).splitlines() == [
        "3 of 20 images can't be read:",
        "  train/0/1  the file is missing",
        "  val/0/0    the file is empty",
        "  train/1/1  the file is missing",
        "Repair or delete them, or leave them out with `prepare.on_bad_image: skip`.",
        "Without them, val has no image of 'class 0'",
        "Every class needs two different training images (one is held out for `tune`) and a "
        "validation image; add images, or remove the class from every split.",
    ]
    with pytest.raises(UserError) as skipped:
        prepare_dataset(given_, SECTION.model_copy(update={"on_bad_image": "skip"}))
    lines = str(stopped.value).splitlines()
    assert str(skipped.value).splitlines() == [*lines[:4], *lines[5:]]
    given_ = replace(dataset([9, 9], val=3), read=read)
    prepared = prepare_dataset(given_, SECTION.model_copy(update={"on_bad_image": "skip"}))
    read_ids = {entry.id for entry in prepared.manifest.entries}
    assert {record.id for record in prepared.unreadable} | read_ids == {
        r.id for r in given_.records
    }
    assert len(prepared.unreadable) == 5


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (dataset([5]), "there is only 1 class; a classifier needs two or more"),
        (dataset([5, 1]), "tune has no image of 'class 1'"),
        (dataset([5, 0]), "train has no image of 'class 1'"),
        (dataset([5, 5], val=0), "val has no image of 'class 0', 'class 1'"),
    ],
)
def test_every_class_is_in_train_tune_and_val(given_: Dataset, message: str):
    with pytest.raises(UserError, match=message):
        prepare_dataset(given_, SECTION)


def test_an_id_for_two_images_is_an_error():
    given_ = dataset([5, 5])
    with pytest.raises(UserError, match="10 ids stand for more than one image"):
        prepare_dataset(
            replace(given_, records=[*given_.records, *given_.records[:5], *given_.records[6:11]]),
            SECTION,
        )


def test_shards_that_are_too_large_are_remarked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.data.preparation.SHARD_IMAGES", 5)
    [remark] = prepare_dataset(dataset([6, 6]), SECTION).remarks
    assert remark.startswith("prepare.shards: 1 gives shards of 14 images")
    assert "3 or more give shards of at most 5" in remark
    assert not prepare_dataset(dataset([6, 6]), SECTION.model_copy(update={"shards": 3})).remarks


def test_shards_without_an_image_are_an_error() -> None:
    many = SECTION.model_copy(update={"shards": 500})
    with pytest.raises(UserError, match=r"prepare\.shards: \d+ of 500 shards have no image; lower"):
        prepare_dataset(dataset([6, 6]), many)
