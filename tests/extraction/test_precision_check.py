"""Less than float32: what it costs is measured, and its rows are as firm as others."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from headstart.backbones.loading import LoadedBackbone
from headstart.core.cache_folders import QUANTIZED
from headstart.core.devices import supports_bfloat16
from headstart.core.errors import UserError
from headstart.core.flower_photographs import sample_photographs
from headstart.extraction.precision_check import median_cosine
from headstart.extraction.row_filling import TOLERANCES
from headstart.runtime.runtimes import Future, check_runtime, extract_array, start_runtime
from headstart.store.examples import ClassLabel, Examples
from headstart.store.images import Images
from tests.runtime.test_runtimes import loaded

# Not noise, which lies outside of what pictures make a network's layers see.
pixels = np.stack([photograph[100:164, 100:164] for photograph in sample_photographs(63)])


@pytest.fixture(scope="module")
def backbone() -> LoadedBackbone:
    return loaded()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(cache))


def relative_error(rows: np.ndarray, exact: np.ndarray) -> float:
    return float((np.linalg.norm(rows - exact, axis=1) / np.linalg.norm(exact, axis=1)).max())


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_features_are_nearly_float32s_and_the_same_in_any_batch(
    backbone: LoadedBackbone, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "bfloat16" and not supports_bfloat16(torch.device("cpu")):
        pytest.skip("this CPU has no bfloat16")
    exact = extract_array(start_runtime(backbone, "cpu", 4), pixels)
    started = start_runtime(backbone, "cpu", 4, precision)
    rows = extract_array(started, pixels)
    assert rows.dtype == np.float32
    assert 1e-4 < relative_error(rows, exact) < 0.3
    np.testing.assert_array_equal(extract_array(started, pixels[::-1]), rows[::-1])
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # half of the cores
    other = extract_array(start_runtime(backbone, "cpu", 2, precision), pixels)
    assert relative_error(other, rows) < TOLERANCES[precision] / 10


def test_a_network_is_quantized_once_and_again_if_it_rots(
    backbone: LoadedBackbone, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_runtime(backbone, "cpu", 4, "int8")
    capsys.readouterr()
    started = start_runtime(backbone, "cpu", 2, "int8")
    assert "quantizing" not in capsys.readouterr().out
    (weights,) = (cache / QUANTIZED).glob("resnet10t-*/*.bin")
    assert started.provenance == {"precision": "int8", "quantized": weights.stem}

    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = start_runtime(backbone, "cpu", 2, "int8")
    assert "quantizing resnet10t (once, for all datasets)" in capsys.readouterr().out
    # To the bit: what was cached under its digest stays valid.
    assert again.provenance == started.provenance
    assert weights.read_bytes() == content


def test_the_cost_is_a_median_cosine(tmp_path: Path) -> None:
    class Fixed:
        batch_size, width = 4, 2
        provenance: dict[str, str] = {}  # noqa: RUF012

        def __init__(self, angle: float) -> None:
            self.row = np.array([np.cos(angle), np.sin(angle)], np.float32)

        def submit(self, pixels: np.ndarray) -> Future:
            assert len(pixels) == 4
            return lambda: np.float32(3) * np.repeat(self.row[None], 4, axis=0)

    with h5py.File(tmp_path / "i.h5", "w") as file:
        images = Images(
            file.create_dataset("pixels", data=pixels[:6]),
            np.zeros((6, 32), np.uint8),
            np.full(6, "train"),
            np.full((6, 4), np.nan, np.float32),
            Examples([str(i) for i in range(6)], np.zeros(6, int), [ClassLabel("a", "a")]),
        )
        assert median_cosine(images, Fixed(0.2), Fixed(0.7)) == pytest.approx(np.cos(0.5))


def test_what_the_machine_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.runtime.openvino_cpu.supports_bfloat16", lambda _: False)
    with pytest.raises(UserError, match="needs a CPU with AVX512-BF16 or AMX-BF16"):
        check_runtime("cpu", "bfloat16")
    monkeypatch.setattr("headstart.runtime.openvino_cpu.find_spec", lambda _: None)
    with pytest.raises(UserError, match="needs NNCF; install it with `uv sync --extra int8`"):
        check_runtime("cpu", "int8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(
        UserError, match="int8 runs on CPUs only; set precision to bfloat16, or device"
    ):
        check_runtime("auto", "int8")
    monkeypatch.setattr("headstart.runtime.cuda_gpu.supports_bfloat16", lambda _: False)
    with pytest.raises(UserError, match="needs a GPU that has it"):
        check_runtime("cuda", "bfloat16")
