"""What holds for every dataset in the registry."""

from pathlib import Path
from typing import Any, get_args

import pytest

from headstart.config import DatasetOutline
from headstart.core.errors import UserError
from headstart.data import datasets
from headstart.data.datasets import (
    Dataset,
    DatasetSection,
    Flowers,
    ImageFolder,
    Table,
    TinyImageNet,
    WebDataset,
)
from headstart.data.decoding import decode
from tests import cases
from tests.data.datasets.layouts import flower_photos, image_folder, table, tars, tiny_imagenet

SECTIONS = {
    "flowers": lambda path: Flowers(path=flower_photos(path)),
    "tiny_imagenet": lambda path: TinyImageNet(path=tiny_imagenet(path)),
    "image_folder": lambda path: ImageFolder(path=image_folder(path)),
    "table": lambda path: Table(path=table(path), image="file", label="class"),
    "webdataset": lambda path: WebDataset(path=tars(path)),
}


@pytest.fixture(params=SECTIONS)
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    return SECTIONS[request.param](tmp_path).load()


def test_each_reader_is_registered_under_its_files_name():
    readers = get_args(get_args(DatasetSection)[0])
    assert {reader.model_fields["name"].default for reader in readers} == set(SECTIONS)
    for reader in readers:
        assert reader.__module__.endswith(f".{reader.model_fields['name'].default}")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"pth": "x"}, "dataset.pth: unknown key; did you mean 'path'?"),
        (
            {"name": "flower"},
            "dataset.name: unknown name 'flower'; did you mean 'flowers'?",
        ),
        ({"follow_links": True}, "dataset.follow_links: unknown key"),
    ],
)
def test_a_wrong_section_is_reported_beside_the_other_sections_problems(
    tmp_path: Path, dataset: dict[str, Any], message: str
):
    cases.write_params(tmp_path, dataset=dataset, resize={"side": 0})
    with pytest.raises(UserError) as raised:
        datasets.load_params(tmp_path / "params.yaml")
    lines = str(raised.value).splitlines()
    assert message in lines[0]
    assert "resize.side" in lines[1]


def test_a_section_that_only_config_validated_is_validated_before_its_dataset_is_loaded():
    outline = DatasetOutline(name="image_folder", path=Path("x"), val_fraction=2)  # type: ignore
    with pytest.raises(UserError, match=r"^params\.yaml: dataset\.val_fraction: .* less than 1$"):
        datasets.load_dataset(outline)


def test_a_section_loads_its_dataset(tmp_path: Path):
    outline = DatasetOutline(name="image_folder", path=image_folder(tmp_path))
    assert datasets.load_dataset(outline).records == ImageFolder(path=tmp_path).load().records


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
    again = SECTIONS[request.node.callspec.params["dataset"]](tmp_path).load()
    assert (again.classes, again.records) == (dataset.classes, dataset.records)
    id_ = dataset.records[-1].id
    assert again.read(id_) == dataset.read(id_)
