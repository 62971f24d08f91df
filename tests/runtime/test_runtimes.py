"""Runtimes: the features equal those of timm, and a row doesn't depend on its batch."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.backbones.loading import LoadedBackbone, load_backbone
from headstart.config import Backbone
from headstart.core.errors import UserError
from headstart.runtime.cuda_gpu import CUDARuntime, compute_in_chunks, full_float32_precision
from headstart.runtime.runtimes import extract_array, start_runtime

BATCH = 4
rng = np.random.default_rng(0)
pixels = rng.integers(0, 256, (BATCH, 24, 24, 3), np.uint8)


def compute_features(backbone: LoadedBackbone, images: np.ndarray) -> np.ndarray:
    return extract_array(start_runtime(backbone, "cpu", BATCH), images)


def loaded(architecture: str = "resnet10t", **changes: object) -> LoadedBackbone:
    return load_backbone(
        Backbone.model_validate(
            {"architecture": architecture, "weights": "none", "input_size": 32, **changes}
        )
    )


@pytest.mark.parametrize("architecture", ["resnet10t", "mobilenetv3_small_050", "convnext_atto"])
def test_features_are_those_of_timm_run_eagerly(architecture: str) -> None:
    backbone = loaded(architecture, interpolation="bilinear")
    ours = compute_features(backbone, pixels)
    # PIL's resize and the textbook normalization; PIL and torch round differently by one level.
    resized = [
        Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR) for image in pixels
    ]
    x = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).permute(0, 3, 1, 2)
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (backbone.preprocessing.mean, backbone.preprocessing.std)
    )
    with torch.inference_mode():
        expected = backbone.network((x / 255 - mean) / std).numpy()
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() < 0.01 * np.abs(expected).max()


def test_without_a_resize_features_agree_to_float32() -> None:
    backbone = loaded()
    same_size = rng.integers(0, 256, (BATCH, 32, 32, 3), np.uint8)
    ours = compute_features(backbone, same_size)
    x = torch.from_numpy(same_size).permute(0, 3, 1, 2)
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (backbone.preprocessing.mean, backbone.preprocessing.std)
    )
    with torch.inference_mode():
        expected = backbone.network((x / 255 - mean) / std).numpy()
    assert np.abs(ours - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_row_is_identical_at_every_position_of_a_batch() -> None:
    runtime = start_runtime(loaded(), "cpu", BATCH)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_array_equal(
        extract_array(runtime, pixels[order]), extract_array(runtime, pixels)[order]
    )
    np.testing.assert_array_equal(
        extract_array(runtime, np.repeat(pixels[:1], BATCH, 0))[3],
        extract_array(runtime, pixels)[0],
    )


def test_larger_images_are_made_smaller_with_antialiasing() -> None:
    backbone = loaded(interpolation="bilinear")
    runtime = start_runtime(backbone, "cpu", BATCH)
    checkers = np.zeros((BATCH, 128, 128, 3), np.uint8)
    checkers[:, ::2, ::2] = checkers[:, 1::2, 1::2] = 255
    gray = np.full((BATCH, 128, 128, 3), 128, np.uint8)
    difference = np.abs(extract_array(runtime, checkers) - extract_array(runtime, gray)).max()
    assert difference < 0.1 * np.abs(extract_array(runtime, gray)).max()


def test_a_network_that_does_not_pool_is_refused() -> None:
    with pytest.raises(UserError, match="not one vector; let it pool"):
        start_runtime(loaded(model_args={"global_pool": ""}), "cpu", BATCH)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_refused() -> None:
    with pytest.raises(UserError, match="torch sees no GPU; set it to auto or cpu"):
        start_runtime(loaded(), "cuda", BATCH)


def test_out_of_memory_halves_the_chunk_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    sizes: list[int] = []

    def compute(batch: np.ndarray) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError
        return torch.from_numpy(batch) * 2

    doubled, chunk = compute_in_chunks(compute, np.arange(10), chunk=10)
    np.testing.assert_array_equal(doubled.numpy(), np.arange(10) * 2)
    assert chunk == 2
    assert sizes == [10, 5, 2, 2, 2, 2, 2]
    assert "continuing with 2 images at a time" in capsys.readouterr().out

    def never(batch: np.ndarray) -> torch.Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(UserError, match="one image doesn't fit into the GPU's memory; lower"):
        compute_in_chunks(never, np.arange(10), chunk=10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
class TestCUDARuntime:
    def test_features_are_the_cpus(self) -> None:
        backbone = loaded()
        expected = compute_features(backbone, pixels)
        runtime = start_runtime(backbone, "cuda", BATCH)
        np.testing.assert_allclose(extract_array(runtime, pixels), expected, rtol=1e-3, atol=1e-3)

    def test_batches_in_flight_are_not_mixed_up(self) -> None:
        runtime = start_runtime(loaded(), "cuda", BATCH)
        batches = [np.roll(pixels, i, axis=0) for i in range(8)]
        futures = [runtime.submit(batch) for batch in batches]
        for i, future in enumerate(futures):
            np.testing.assert_array_equal(np.roll(future(), -i, axis=0), futures[0]())

    def test_memory_that_runs_out_halves_the_chunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runtime = start_runtime(loaded(), "cuda", BATCH)
        assert isinstance(runtime, CUDARuntime)
        expected, compute = extract_array(runtime, pixels), runtime._features

        def crowded(images: np.ndarray) -> torch.Tensor:
            if len(images) > 1:
                raise torch.OutOfMemoryError
            return compute(images)

        monkeypatch.setattr(runtime, "_features", crowded)
        ours = extract_array(runtime, pixels)
        assert runtime.chunk == 1
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)


def test_torchs_precision_settings_are_restored() -> None:
    backends: Any = torch.backends
    settings = (backends.cudnn.conv, backends.cuda.matmul)
    before = [setting.fp32_precision for setting in settings]
    assert before != ["ieee", "ieee"]
    with full_float32_precision():
        assert [setting.fp32_precision for setting in settings] == ["ieee", "ieee"]
    assert [setting.fp32_precision for setting in settings] == before
