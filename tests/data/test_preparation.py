from collections import Counter
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.config import Prepare
from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, Record
from headstart.data.decoding import UnreadableImageError
from headstart.data.preparation import prepare_dataset
from headstart.store.examples import ClassLabel

SECTION = Prepare(tune_fraction=0.25, seed=3, on_bad_image="stop", max_pixels=1000)


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


def test_the_order_is_the_datasets_and_the_size_the_images():
    given_ = dataset([3, 3])
    prepared = prepare_dataset(given_, SECTION)
    entries = prepared.manifest.entries
    assert [entry.id for entry in entries] == [record.id for record in given_.records]
    assert {(entry.width, entry.height) for entry in entries} == {(12, 9)}
    assert prepared.contents == [sha256(picture(entry.id)).hexdigest() for entry in entries]


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
