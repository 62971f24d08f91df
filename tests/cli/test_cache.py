"""`headstart cache`: needed rows stay, everything else is deleted."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from headstart.core.cache_folders import QUANTIZED, ROWS, cache_name
from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.extraction.feature_cache import FeatureCache
from headstart.store.examples import write_examples
from headstart.store.features import merge_provenances
from tests.cases import examples, run_command, write_project

PROVENANCE = {"architecture": "resnet50", "weights": "aa"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Features of the backbone `random`, its cache, an older one, and a training's leavings."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    with create_hdf5(tmp_path / "data/features/random/train.h5") as file:
        file["features"] = np.zeros((4, 1, 3), np.float16)
        write_examples(file, examples(4))
        write_json(file, "views", ["whole"])
        write_json(file, "provenance", PROVENANCE)
    for provenance in (PROVENANCE, {**PROVENANCE, "weights": "bb"}):
        folder = tmp_path / "cache" / ROWS / cache_name(provenance, "float16")
        FeatureCache(folder, 3, "float16").add(np.array([b"k" * 16]), np.zeros((1, 3)))
        os.utime(folder, (0, 0))
    training = tmp_path / "cache" / "training" / "vgg16-00"
    training.mkdir(parents=True)
    (training / "checkpoint.pt").write_bytes(bytes(2_500_000))
    return tmp_path


def cache(project: Path, *arguments: str) -> None:
    write_project(project, extract={"backbones": ["random"]})
    run_command("cache", "--project", str(project), *arguments)


def remaining(project: Path) -> set[str]:
    return {path.name for path in (project / "cache").glob("*/*")}


def test_sizes_are_shown_and_nothing_is_deleted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = remaining(project)
    cache(project)
    shown = capsys.readouterr().out
    assert "       2.5 MB  not needed  training/vgg16-00" in shown
    assert f"needed      rows/{cache_name(PROVENANCE, 'float16')}" in shown
    assert "3 caches, 0.0 MB freed" in shown
    assert remaining(project) == before


def test_prune_keeps_what_the_current_features_came_from(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache(project, "--prune")
    assert remaining(project) == {cache_name(PROVENANCE, "float16")}
    assert "2.5 MB freed" in capsys.readouterr().out


def test_prune_keeps_what_a_killed_extraction_goes_on_from_and_what_is_no_cache(
    project: Path,
) -> None:
    newer = project / "cache" / ROWS / cache_name({**PROVENANCE, "weights": "cc"}, "float16")
    FeatureCache(newer, 3, "float16").add(np.array([b"k" * 16]), np.zeros((1, 3)))
    own = project / "cache" / "photos" / "holiday"
    own.mkdir(parents=True)
    cache(project, "--prune")
    assert remaining(project) == {cache_name(PROVENANCE, "float16"), newer.name, "holiday"}


def test_prune_keeps_the_rows_of_every_member_of_a_concatenation(project: Path) -> None:
    other = {**PROVENANCE, "weights": "bb"}
    with create_hdf5(project / "data/features/random/train.h5") as file:
        file["features"] = np.zeros((4, 1, 6), np.float16)
        write_json(file, "provenance", merge_provenances([PROVENANCE, other]))
    cache(project, "--prune")
    assert remaining(project) == {cache_name(p, "float16") for p in (PROVENANCE, other)}


def test_prune_keeps_the_int8_network_that_the_features_came_through(project: Path) -> None:
    quantized = {**PROVENANCE, "quantized": "dd"}
    with create_hdf5(project / "data/features/random/train.h5") as file:
        file["features"] = np.zeros((4, 1, 6), np.float16)
        write_json(file, "provenance", quantized)
    for name in ("dd", "ee"):
        folder = project / "cache" / QUANTIZED / f"resnet50-{name}"
        folder.mkdir(parents=True)
        (folder / f"{name}.bin").write_bytes(b"weights")
    cache(project, "--prune")
    assert remaining(project) == {"resnet50-dd"}


def test_prune_leaves_what_a_running_stage_holds(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FileLock(project / "cache/training/vgg16-00/lock"):
        cache(project, "--prune")
    assert "vgg16-00" in remaining(project)
    assert "in use by a running stage" in capsys.readouterr().out


def test_prune_holds_the_locks_until_all_is_deleted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = project / "cache/training/vgg16-00/lock"
    lock.touch()
    delete = shutil.rmtree

    def deleting(folder: Path) -> None:
        if folder == lock.parent:
            with pytest.raises(Timeout):
                FileLock(lock).acquire(timeout=0)
        delete(folder)

    monkeypatch.setattr("shutil.rmtree", deleting)
    cache(project, "--prune")
    assert remaining(project) == {cache_name(PROVENANCE, "float16")}


def test_verify_deletes_damaged_parts_and_nothing_else(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project / "cache" / ROWS / cache_name(PROVENANCE, "float16")
    FeatureCache(folder, 3, "float16").add(np.array([b"l" * 16]), np.ones((1, 3)))
    damaged, sound = sorted(folder.glob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    before = remaining(project)
    cache(project, "--verify")
    lines = capsys.readouterr().out.splitlines()
    assert sum("needed, parts: 2, damaged and deleted: 1" in line for line in lines) == 1
    assert sum("not needed, parts: 1, damaged and deleted: 0" in line for line in lines) == 1
    assert list(folder.glob("*.npy")) == [sound]
    assert remaining(project) == before


def test_verify_leaves_what_a_running_stage_holds(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project / "cache" / ROWS / cache_name(PROVENANCE, "float16")
    [part] = folder.glob("*.npy")
    part.write_bytes(b"damaged")
    with FileLock(folder / "lock-0"):
        cache(project, "--verify")
    assert part.exists()
    assert "not verified: in use by a running stage" in capsys.readouterr().out
