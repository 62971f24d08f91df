from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.datasets import Dataset, Record
from headstart.decode import BadImage
from headstart.errors import UserError
from headstart.h5 import ClassLabel
from headstart.params import Prepare
from headstart.prepare import prepare
from tests.pictures import encoded, noise

SECTION = Prepare(tune_fraction=0.25, seed=3, on_bad_image="stop", max_pixels=1000)
PICTURE = encoded(noise())


def dataset(train: list[int], val: int = 1, test: int = 0) -> Dataset:
    """`train[c]` training images of each class c."""
    records = [Record(f"test/{i}", None, "test") for i in range(test)]
    for label, count in enumerate(train):
        records += [Record(f"train/{label}/{i}", label, "train") for i in range(count)]
        records += [Record(f"val/{label}/{i}", label, "val") for i in range(val)]
    return Dataset(
        [ClassLabel(str(c), f"class {c}") for c in range(len(train))], records, lambda _: PICTURE
    )


@given(st.lists(st.integers(2, 30), min_size=2, max_size=4))
def test_tune_is_a_stratified_slice_of_train_alone(train: list[int]):
    made, bad = prepare(dataset(train, val=2, test=3), SECTION)
    assert not bad
    counts = Counter((entry.split, entry.label) for entry in made.entries)
    for label, n in enumerate(train):
        assert counts["tune", label] == min(max(round(n / 4), 1), n - 1)
        assert counts["tune", label] + counts["train", label] == n
        assert counts["val", label] == 2
    assert counts["test", None] == 3
    assert all(e.id.startswith("train/") for e in made.entries if e.split == "tune")


def test_another_image_moves_at_most_one_and_none_of_another_class():
    before = {e.id: e.split for e in prepare(dataset([20, 20]), SECTION)[0].entries}
    after = {e.id: e.split for e in prepare(dataset([21, 20]), SECTION)[0].entries}
    moved = [id_ for id_, split in before.items() if after[id_] != split]
    assert len(moved) <= 1
    assert all(id_.startswith("train/0/") for id_ in moved)


def test_the_order_is_the_datasets_and_the_size_the_images():
    given_ = dataset([3, 3])
    made, _ = prepare(given_, SECTION)
    assert [entry.id for entry in made.entries] == [record.id for record in given_.records]
    assert {(entry.width, entry.height) for entry in made.entries} == {(12, 9)}


def test_all_bad_images_are_told_at_once():
    def read(id_: str) -> bytes:
        if id_.endswith("/1"):
            raise BadImage("the file is missing")
        return b"" if id_ == "val/0/0" else PICTURE

    given_ = replace(dataset([9, 9]), read=read)
    with pytest.raises(UserError) as stopped:
        prepare(given_, SECTION)
    assert str(stopped.value).splitlines() == [
        "3 of 20 images can't be read:",
        "  train/0/1  the file is missing",
        "  val/0/0    the file is empty",
        "  train/1/1  the file is missing",
        "Repair or delete them, or leave them out with `prepare.on_bad_image: skip`.",
        "Without them, val has no image of 'class 0'",
        "Every class needs two training images (one is held out for `tune`) and a validation "
        "image; add images, or remove the class from every split.",
    ]
    with pytest.raises(UserError) as skipped:
        prepare(given_, SECTION.model_copy(update={"on_bad_image": "skip"}))
    told = str(stopped.value).splitlines()
    assert str(skipped.value).splitlines() == [*told[:4], *told[5:]]
    given_ = replace(dataset([9, 9], val=3), read=read)
    made, bad = prepare(given_, SECTION.model_copy(update={"on_bad_image": "skip"}))
    assert {record.id for record in bad} | {entry.id for entry in made.entries} == {
        record.id for record in given_.records
    }
    assert len(bad) == 5


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (dataset([5]), "1 class is nothing to tell apart"),
        (dataset([5, 1]), "tune has no image of 'class 1'"),
        (dataset([5, 0]), "train has no image of 'class 1'"),
        (dataset([5, 5], val=0), "val has no image of 'class 0', 'class 1'"),
    ],
)
def test_every_class_is_in_train_tune_and_val(given_: Dataset, message: str):
    with pytest.raises(UserError, match=message):
        prepare(given_, SECTION)


def test_an_id_for_two_images_is_an_error():
    given_ = dataset([5, 5])
    with pytest.raises(UserError, match="10 ids stand for more than one image"):
        prepare(
            replace(given_, records=[*given_.records, *given_.records[:5], *given_.records[6:11]]),
            SECTION,
        )
