"""A training's fingerprint: it changes with all that decides the result, and with nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from headstart import params
from headstart.augmentation import Input
from headstart.end_to_end import Job, fingerprint
from headstart.h5 import ClassLabel
from headstart.images import Images
from headstart.training import Labelled, Task
from tests import cases

SPLITS = ["train"] * 6 + ["tune"] * 4 + ["val"] * 3
TRAIN, TUNE, VAL = 2, 7, 11
"""An image of each split."""


@pytest.fixture
def images() -> Iterator[Images]:
    digests = np.random.default_rng(0).integers(0, 256, (len(SPLITS), 32)).astype(np.uint8)
    boxes = np.full((len(SPLITS), 4), np.nan, np.float32)
    with h5py.File("pixels", "w", driver="core", backing_store=False) as file:
        pixels = file.create_dataset("pixels", (len(SPLITS), 8, 8, 3), np.uint8)
        yield Images(pixels, digests, np.array(SPLITS), boxes, cases.examples(len(SPLITS)))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "code.py").write_text("pass")
    none = Labelled(torch.empty(0, 8, 8, 3, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    task = Task(none, none, Input(8, 1.0, (0.5,) * 3, (0.3,) * 3), 4)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    recipe = params.load(cases.ROOT / "params.yaml").recipes["short"]
    return Job("small", network, task, recipe, {"network": "small"}, [tmp_path / "code.py"])


def relabelled(row: int) -> Callable[[Job, Images], Job]:
    def change(job: Job, images: Images) -> Job:
        images.examples.labels[row] += 1
        return job

    return change


def repainted(row: int) -> Callable[[Job, Images], Job]:
    def change(job: Job, images: Images) -> Job:
        images.digests[row, 0] ^= 1
        return job

    return change


def moved(row: int, split: str) -> Callable[[Job, Images], Job]:
    def change(job: Job, images: Images) -> Job:
        images.splits[row] = split
        return job

    return change


def another_weight(job: Job, _: Images) -> Job:
    with torch.no_grad():
        job.network.get_parameter("0.bias")[1] += 1e-6
    return job


def another_buffer(job: Job, _: Images) -> Job:
    job.network.get_buffer("1.running_mean")[1] += 1e-6
    return job


def another_class(job: Job, images: Images) -> Job:
    images.examples.classes[1] = ClassLabel("n99999999", images.examples.classes[1].name)
    return job


def another_name(job: Job, images: Images) -> Job:
    images.examples.classes[1] = ClassLabel(images.examples.classes[1].id, "minibus")
    return job


def other_code(job: Job, _: Images) -> Job:
    job.code[0].write_text("pass  # edited")
    return job


DECISIVE: dict[str, Callable[[Job, Images], Job]] = {
    "label of train": relabelled(TRAIN),
    "label of tune": relabelled(TUNE),
    "pixels of train": repainted(TRAIN),
    "pixels of tune": repainted(TUNE),
    "split": moved(TRAIN, "tune"),
    "class": another_class,
    "weight": another_weight,
    "buffer": another_buffer,
    "code": other_code,
    "recipe": lambda job, _: replace(job, recipe=job.recipe.model_copy(update={"seed": 1})),
    "first recipe": lambda job, _: replace(job, first=job.recipe),
    "network": lambda job, _: replace(job, identity={"network": "large"}),
    "snapshots": lambda job, _: replace(job, max_snapshots=2),
}

IRRELEVANT: dict[str, Callable[[Job, Images], Job]] = {
    "nothing": lambda job, _: job,
    "label of val": relabelled(VAL),
    "pixels of val": repainted(VAL),
    "name of a class": another_name,
    "name of the training": lambda job, _: replace(job, label="other"),
}


@pytest.mark.parametrize("change", DECISIVE)
def test_what_decides_the_result_is_in_the_fingerprint(job: Job, images: Images, change: str):
    before = fingerprint(job, images)
    assert fingerprint(DECISIVE[change](job, images), images) != before


@pytest.mark.parametrize("change", IRRELEVANT)
def test_what_doesnt_isnt(job: Job, images: Images, change: str):
    before = fingerprint(job, images)
    assert fingerprint(IRRELEVANT[change](job, images), images) == before
