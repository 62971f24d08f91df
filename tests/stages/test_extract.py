"""`extract` as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from headstart.core.devices import supports_bfloat16
from headstart.core.hdf5_files import create_hdf5
from headstart.data.resizing import pixel_digest
from headstart.store.examples import ClassLabel, Examples, write_examples
from headstart.store.features import count_networks, load_features
from headstart.store.filters import load_filters
from tests import cases

ZOO = {"tiny": {"architecture": "resnet10t", "weights": "none", "input_size": 32}}


def images(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    examples = Examples(
        [f"image {i}" for i in range(12)], np.arange(12) % 2, [ClassLabel(c, c) for c in "ab"]
    )
    with create_hdf5(path) as file:
        file["pixels"] = pixels
        file["digest"] = np.array(
            [np.frombuffer(pixel_digest(image), np.uint8) for image in pixels]
        )
        file["split"] = np.array(["train", "tune", "val"] * 4, "S5")
        file["box"] = np.full((12, 4), np.nan, np.float32)
        write_examples(file, examples)


def extract(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    zoo: dict[str, Any] = ZOO,
    backbone: str = "tiny",
) -> None:
    cases.run_stage(
        monkeypatch,
        folder,
        "extract",
        *(
            "--images",
            "images.h5",
            "--features",
            "features",
            "--results",
            "results",
            "--backbone",
            backbone,
        ),
        zoo=zoo,
        extract={"backbones": list(zoo), "ten_crop": True, "batch_size": 4, "device": "cpu"},
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def test_features_with_their_provenance_and_a_line_of_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "images.h5")
    extract(monkeypatch, tmp_path)
    assert "tiny: 84 rows, 84 computed, the rest cached; " in capsys.readouterr().out
    filters = load_filters(tmp_path / "results" / "filters" / "backbones" / "tiny.npy")
    assert filters.shape[1] == 3
    train, val = (load_features(tmp_path / "features" / f"{s}.h5") for s in ("train", "val"))
    assert train.values.shape == (4, 1, 512)
    assert val.values.shape == (4, 10, 512)
    assert val.values.dtype == np.float16
    assert val.provenance["architecture"] == "resnet10t"
    assert val.provenance["preprocessing"]["input_size"] == 32
    assert len(val.provenance["weights"]) == 64

    before = (tmp_path / "features" / "val.h5").read_bytes()
    extract(monkeypatch, tmp_path)
    assert "84 rows, 0 computed" in capsys.readouterr().out
    assert (tmp_path / "features" / "val.h5").read_bytes() == before


def test_a_concatenation_of_a_cached_and_a_new_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "images.h5")
    zoo = {**ZOO, "again": {**ZOO["tiny"], "seed": 1}, "both": {"concatenate": ["tiny", "again"]}}
    extract(monkeypatch, tmp_path, zoo)
    tiny = load_features(tmp_path / "features" / "val.h5")
    capsys.readouterr()
    # A killed run goes on from the cached rows, however old they are.
    for folder in (tmp_path / "cache/rows").iterdir():
        os.utime(folder, (0, 0))

    extract(monkeypatch, tmp_path, zoo, "both")
    said = capsys.readouterr().out
    assert "again: 84 rows, 84 computed" in said
    assert "tiny: 84 rows, 0 computed, the rest cached" in said
    found = load_features(tmp_path / "features" / "val.h5")
    assert found.values.shape == (4, 10, 1024)
    np.testing.assert_array_equal(found.values[..., 512:], tiny.values)
    assert found.provenance["concatenation"][1] == tiny.provenance
    assert all(folder.stat().st_mtime > 0 for folder in (tmp_path / "cache/rows").iterdir())


@pytest.mark.skipif(not supports_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16")
def test_less_than_float32_is_a_backbone_of_its_own_and_its_cost_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "images.h5")
    extract(monkeypatch, tmp_path, {"tiny": {**ZOO["tiny"], "precision": "bfloat16"}})
    told = capsys.readouterr().out
    assert "84 computed" in told
    cosine = float(told.split("; bfloat16, median cosine with float32 ")[1])
    assert 0.95 < cosine <= 1
    provenance = load_features(tmp_path / "features" / "val.h5").provenance
    assert (provenance["precision"], provenance["device"]) == ("bfloat16", "cpu")


def test_another_backbones_wrong_weights_are_found_before_this_ones_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "images.h5")
    (tmp_path / "weights.safetensors").write_bytes(b"none")
    wrong = {**ZOO["tiny"], "weights": str(tmp_path / "weights.safetensors")}
    with pytest.raises(SystemExit, match="is not a file of weights that can be read safely"):
        extract(monkeypatch, tmp_path, {**ZOO, "wrong": wrong})
    assert not (tmp_path / "features").exists()


def test_a_std_that_swallows_every_image_is_found_before_anything_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "images.h5")
    message = r"error: wrong gives different images the same features; look at its mean, std"
    with pytest.raises(SystemExit, match=message):
        extract(monkeypatch, tmp_path, {"wrong": {**ZOO["tiny"], "std": [1e15] * 3}}, "wrong")
    assert not list(tmp_path.rglob("*.npy"))
    assert not (tmp_path / "features").exists()


def test_two_processes_write_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path / "images.h5")
    zoo = {"colors": {"architecture": "pixels", "weights": "none"}}
    extract(monkeypatch, tmp_path, zoo, "colors")
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["extract"]["processes"] = 2
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    arguments = [
        "--images",
        "images.h5",
        "--features",
        "two",
        "--results",
        "results",
        "--backbone",
        "colors",
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "stages.extract", *arguments],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(cases.ROOT), "HEADSTART_CACHE": str(tmp_path / "another")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "(process 0 of 2)" in ran.stdout
    assert "(process 1 of 2)" in ran.stdout
    for path in (tmp_path / "features").glob("*.h5"):
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()


def test_images_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"error: images\.h5 is missing; `dvc repro` makes it"):
        extract(monkeypatch, tmp_path)


def test_all_that_stops_any_backbone_is_said_before_the_first_ones_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "images.h5")
    small = {"architecture": "inception_v3", "weights": "none", "input_size": 8}
    large = {**ZOO["tiny"], "input_size": 4096}
    monkeypatch.setattr("headstart.extraction.row_extractor.machine_memory", lambda: 10**9)
    with pytest.raises(SystemExit) as stopped:
        extract(monkeypatch, tmp_path, {**ZOO, "small": small, "large": large})
    first, second = str(stopped.value).removeprefix("error: ").splitlines()
    assert first.startswith("zoo.small: input_size: inception_v3 takes no images of 8 px")
    assert second.startswith("zoo.large: extract.batch_size: 4 images would take at least")
    assert not (tmp_path / "features").exists()


LAYERS = {
    name: {**ZOO["tiny"], "layers": layers}
    for name, layers in (("two", ["layer3", "layer4"]), ("last", ["layer4"]), ("first", ["layer3"]))
}


def computed(capsys: pytest.CaptureFixture[str]) -> int:
    return int(capsys.readouterr().out.split(" rows, ")[1].split(" computed")[0])


@pytest.mark.parametrize("order", [("two", "last", "first"), ("last", "two", "first")])
def test_all_active_layers_of_a_network_take_one_pass(
    order: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images(tmp_path / "images.h5")
    values, provenances, rows = {}, {}, []
    for name in order:
        extract(monkeypatch, tmp_path, LAYERS, name)
        rows.append(computed(capsys))
        val = load_features(tmp_path / "features" / "val.h5")
        values[name], provenances[name] = val.values, val.provenance
    assert rows == [84, 0, 0]
    assert values["two"].shape == (4, 10, 256 + 512)
    np.testing.assert_array_equal(values["two"][..., :256], values["first"])
    np.testing.assert_array_equal(values["two"][..., 256:], values["last"])
    assert provenances["two"] == {"concatenation": [provenances["first"], provenances["last"]]}
    assert provenances["last"]["layer"] == "layer4"
    # The last layer, averaged, is the network's own output.
    extract(monkeypatch, tmp_path)
    own = load_features(tmp_path / "features" / "val.h5").values
    np.testing.assert_allclose(values["last"], own, rtol=1e-2, atol=1e-3)


def test_layers_are_cached_apart_and_reused_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "images.h5")
    extract(monkeypatch, tmp_path, {"two": LAYERS["two"]}, "two")
    assert computed(capsys) == 84
    before = (tmp_path / "features" / "val.h5").read_bytes()
    folders = {path.name.split("-")[1]: path for path in (tmp_path / "cache" / "rows").iterdir()}
    assert folders.keys() == {"layer3", "layer4"}
    # A run that was killed between the two caches leaves one with more rows than the other.
    for part in folders["layer3"].glob("*.npy"):
        part.unlink()
    kept = sorted(folders["layer4"].glob("*.npy"))
    extract(monkeypatch, tmp_path, {"last": LAYERS["last"]}, "last")
    assert computed(capsys) == 0
    extract(monkeypatch, tmp_path, {"two": LAYERS["two"]}, "two")
    assert computed(capsys) == 84
    assert sorted(folders["layer4"].glob("*.npy")) == kept  # nothing is stored twice
    assert (tmp_path / "features" / "val.h5").read_bytes() == before


def test_layers_of_two_entries_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "images.h5")
    single = {name: LAYERS[name] for name in ("last", "first")}
    zoo = {"both": {"concatenate": ["first", "last"]}, **single}
    extract(monkeypatch, tmp_path, zoo, "both")
    out = capsys.readouterr().out
    assert "first: 84 rows, 84 computed" in out
    assert "last: 84 rows, 0 computed" in out
    both = load_features(tmp_path / "features" / "val.h5")
    assert count_networks(both.provenance) == 1
    extract(monkeypatch, tmp_path, {"two": LAYERS["two"]}, "two")
    two = load_features(tmp_path / "features" / "val.h5")
    np.testing.assert_array_equal(both.values, two.values)
    assert both.provenance == two.provenance


def test_an_unknown_layer_is_found_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "images.h5")
    wrong = {**ZOO["tiny"], "layers": ["layer4", "layr3"]}
    with pytest.raises(SystemExit, match=r"zoo\.wrong: layers: ResNet has no module 'layr3'; the"):
        extract(monkeypatch, tmp_path, {**ZOO, "wrong": wrong})
    assert not (tmp_path / "features").exists()
