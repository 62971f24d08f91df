"""What holds for every dataset in the registry."""

from pathlib import Path
from typing import get_args

import pytest

from headstart.config import ImageFolder, Params, PhotoPatches, TinyImageNet
from headstart.data import datasets
from headstart.data.datasets import Dataset
from headstart.data.decoding import decode
from tests.data.datasets.layouts import image_folder, tiny_imagenet

SECTIONS = {
    "photo_patches": lambda path: PhotoPatches(name="photo_patches", path=path),
    "tiny_imagenet": lambda path: TinyImageNet(name="tiny_imagenet", path=tiny_imagenet(path)),
    "image_folder": lambda path: ImageFolder(name="image_folder", path=image_folder(path)),
}


@pytest.fixture(params=SECTIONS)
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    return datasets.load_dataset(SECTIONS[request.param](tmp_path))


def test_params_and_registry_name_the_same_datasets():
    union = Params.model_fields["dataset"].annotation
    assert set(get_args(union)) == set(datasets.READERS)
    assert len(SECTIONS) == len(datasets.READERS)


def test_ids_are_unique_and_labels_in_range(dataset: Dataset):
    ids = [record.id for record in dataset.records]
    assert len(set(ids)) == len(ids)
    assert not any("\\" in id_ or id_.startswith("/") for id_ in ids)
    for record in dataset.records:
        assert record.split in ("train", "val", "test")
        assert record.label in range(len(dataset.classes)) or record.split == "test"


def test_every_class_is_in_train_and_val_and_has_its_own_name(dataset: Dataset):
    for split in ("train", "val") if dataset.val_fraction is None else ("train",):
        labels = {record.label for record in dataset.records if record.split == split}
        assert labels == set(range(len(dataset.classes)))
    assert len({label.name for label in dataset.classes}) == len(dataset.classes)
    assert len({label.id for label in dataset.classes}) == len(dataset.classes)


def test_every_record_is_an_image(dataset: Dataset):
    for record in dataset.records[::20]:
        assert decode(dataset.read(record.id), 10_000).shape[2] == 3


def test_loading_again_gives_the_same(dataset: Dataset, tmp_path: Path, request):
    section = {
        "photo_patches": lambda: PhotoPatches(name="photo_patches", path=tmp_path),
        "tiny_imagenet": lambda: TinyImageNet(name="tiny_imagenet", path=tmp_path),
        "image_folder": lambda: ImageFolder(name="image_folder", path=tmp_path),
    }[request.node.callspec.params["dataset"]]()
    again = datasets.load_dataset(section)
    assert (again.classes, again.records) == (dataset.classes, dataset.records)
    id_ = dataset.records[-1].id
    assert again.read(id_) == dataset.read(id_)
