"""Images in every form to features; nothing is computed twice."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import headstart as hs
from headstart.api import square_images
from headstart.api.extractor import ExtractedFeatures
from headstart.config import Backbone, Extract
from headstart.config.standard_zoo import STANDARD_ZOO
from headstart.data.decoding import decode
from headstart.data.resizing import pixel_digest
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.pipeline import extract_features
from headstart.extraction.row_extractor import load_row_extractor
from headstart.extraction.view_plan import ViewPlan
from headstart.store.examples import ClassLabel, Examples
from headstart.store.features import load_features
from headstart.store.images import Images, ImageShard
from tests.api.conftest import NAMES, patches
from tests.pictures import encoded


@pytest.fixture(scope="module")
def shared_pixels() -> hs.Extractor:
    """The backbone that computes nothing."""
    return hs.Extractor("pixels", cache=None, device="cpu")


@pytest.fixture
def pixels(
    shared_pixels: hs.Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> hs.Extractor:
    """The same with a cache of its own, because starting one takes seconds."""
    monkeypatch.setattr(shared_pixels, "cache", tmp_path / "cache")
    monkeypatch.setattr(shared_pixels.rows, "_cache", None)
    monkeypatch.setattr(shared_pixels.rows, "stats", ExtractionStats())
    return shared_pixels


def stored_images(path: Path, images: np.ndarray, labels: np.ndarray, split: str) -> Images:
    """Images as the pipeline's `resize` stores them."""
    file = h5py.File(path, "w")
    return Images(
        pixels=file.create_dataset("pixels", data=images),
        digests=np.array([np.frombuffer(pixel_digest(image), np.uint8) for image in images]),
        splits=np.full(len(images), split),
        boxes=np.full((len(images), 4), np.nan, np.float32),
        examples=Examples(
            [str(i) for i in range(len(images))],
            labels,
            [ClassLabel(name, name) for name in NAMES],
        ),
    )


def test_features_and_rows_are_the_pipelines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extractor: hs.Extractor, images: np.ndarray
) -> None:
    asked = Extract.model_validate(
        {
            "backbones": [],
            "processes": 1,
            "ten_crop": False,
            "augmented_views": 0,
            "dtype": "float16",
            "batch_size": 16,
            "device": "cpu",
        }
    )
    few = images[::4]
    stored = stored_images(tmp_path / "images.h5", few, np.arange(10) % 4, "val")
    rows = load_row_extractor("b", Backbone.model_validate(STANDARD_ZOO["bundled"]), asked)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    (stats,) = extract_features(
        [ImageShard.in_memory(stored)], tmp_path, [lambda: rows], ViewPlan(False, 0), "float16"
    )
    assert stats.computed == 10
    expected = load_features(tmp_path / "val.h5")

    monkeypatch.setattr(extractor, "cache", tmp_path / "cache")
    found = extractor(few)
    assert extractor.stats.computed == 0  # the pipeline's rows are found
    assert found.provenance == expected.provenance
    assert found.views == expected.views
    np.testing.assert_array_equal(found.values, expected.values)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(extractor.rows, "_cache", None)
    np.testing.assert_array_equal(extractor(few).values, expected.values)
    assert extractor.stats.computed == 10


def test_small_images_keep_their_size_as_in_the_pipeline(pixels: hs.Extractor) -> None:
    small = patches("cloud", 2, side=8)
    found = pixels([*small, patches("cloud", 1, side=32)[0]])
    np.testing.assert_array_equal(
        found.digests[:2], [np.frombuffer(pixel_digest(image), np.uint8) for image in small]
    )
    assert found.values.shape == (3, 1, 3 * 16 * 16)


def test_a_second_call_computes_what_is_new(pixels: hs.Extractor, images: np.ndarray) -> None:
    pixels(images[:20])
    assert pixels.stats.computed == 20
    pixels(images[:20])
    assert pixels.stats.computed == 0
    pixels(images[:23])
    assert (pixels.stats.wanted, pixels.stats.computed) == (23, 3)


def test_a_killed_call_goes_on(
    pixels: hs.Extractor, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.extraction.row_filling.PART_ROWS", 16)
    submit, batches = pixels.rows.extractor.runtime.submit, 0

    def killed(batch: np.ndarray) -> Any:
        nonlocal batches
        batches += 1
        if batches == 3:
            raise KeyboardInterrupt
        return submit(batch)

    with monkeypatch.context() as patched:
        patched.setattr(pixels.rows.extractor.runtime, "submit", killed)
        with pytest.raises(KeyboardInterrupt):
            pixels(images)
    pixels(images)
    assert pixels.stats.computed == 40 - 16


def test_nothing_is_kept_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "unused"))
    extractor = hs.Extractor("pixels", cache=None, device="cpu")
    for _ in range(2):
        extractor(images[:3])
        assert extractor.stats.computed == 3
    assert not list(tmp_path.iterdir())


def test_views_are_those_that_were_asked_for(tmp_path: Path, images: np.ndarray) -> None:
    extractor = hs.Extractor("pixels", cache=None, ten_crop=True, device="cpu")
    assert extractor(images[:2]).values.shape[:2] == (2, 10)
    assert extractor(images[:2], augmented_views=0).views == ["whole"]
    assert extractor(images[:2], augmented_views=2).views == ["whole", "augmented_0", "augmented_1"]


def test_every_form_of_an_image_gives_its_pixels(pixels: hs.Extractor, tmp_path: Path) -> None:
    image = patches("cloud", 1)[0]
    (tmp_path / "0.png").write_bytes(encoded(image))
    expected = pixels(image[None]).values[0]
    forms = [
        *(tmp_path / "0.png", str(tmp_path / "0.png"), Image.fromarray(image), image),
        *(torch.from_numpy(image).permute(2, 0, 1), Image.open(tmp_path / "0.png")),
    ]
    for values in pixels(forms).values:
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(pixels(np.array([str(tmp_path / "0.png")])).values[0], expected)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_pil_images_are_treated_as_their_files(mode: str, pixels: hs.Extractor) -> None:
    rgba = np.dstack([patches("cloud", 1)[0], np.arange(64 * 64).reshape(64, 64) % 256])
    image = Image.fromarray(rgba.astype(np.uint8)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    assert image.mode == mode
    from_file = decode(encoded(image), 10_000)
    np.testing.assert_array_equal(pixels([image]).values, pixels([from_file]).values)
    if mode in ("L", "RGBA"):
        np.testing.assert_array_equal(pixels([np.asarray(image)]).values, pixels([image]).values)


def test_cmyk_and_rotated_photographs_too(pixels: hs.Extractor, tmp_path: Path) -> None:
    image = Image.fromarray(patches("cloud", 1)[0])
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "rotated.png", exif=exif)
    paths = [tmp_path / "cmyk.tif", tmp_path / "rotated.png"]
    opened = [Image.open(path) for path in paths]
    np.testing.assert_array_equal(pixels(opened).values, pixels(paths).values)


def test_all_unreadable_images_are_named_before_anything_is_computed(
    pixels: hs.Extractor, tmp_path: Path
) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(encoded(patches("cloud", 1)[0]))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    names = ["empty.jpg", "good.png", "text.jpg", "missing.jpg"]
    with pytest.raises(hs.UserError) as told:
        pixels([tmp_path / name for name in names])
    first, *lines = str(told.value).splitlines()
    assert first == "3 of 4 images can't be read:"
    for line, name, reason in zip(
        lines,
        ("empty.jpg", "text.jpg", "missing.jpg"),
        ("the file is empty", "not an image of a known format", "No such file"),
        strict=True,
    ):
        assert line.startswith(f"  {tmp_path / name}: {reason}")
    assert pixels.stats.computed == 0


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ("photos", None, r"images is one path \('photos'\); give a list of image files"),
        ([], None, "there are no images"),
        (3, None, "images is a int; give a list of paths"),
        (iter(["a.jpg"]), None, "images is a list_iterator; give a list of paths"),
        ([np.zeros((8, 8, 3))], None, "image 0: it is an array of float64; give pixels of 0 to"),
        ([np.zeros((8, 8, 2), np.uint8)], None, r"image 0: it has shape \[8, 8, 2\]"),
        ([None], None, "image 0: it is a NoneType; give a list of paths"),
        (np.zeros((2, 8, 8, 3), np.uint8), [1], "there are 2 images and 1 labels"),
        (np.zeros((2, 8, 8, 3), np.uint8), [1, "a"], "some labels are text and some are numbers"),
        (np.zeros((2, 8, 8, 3), np.uint8), [1, 0.5], "a label is a float; give text or whole"),
        (np.zeros((2, 8, 8, 3), np.uint8), [1, None], "a label is a NoneType"),
    ],
)
def test_what_is_no_image_is_said(
    pixels: hs.Extractor, images: Any, labels: Any, message: str
) -> None:
    with pytest.raises(hs.UserError, match=message):
        pixels(images, labels)


def test_more_images_than_memory_are_read_again(
    pixels: hs.Extractor, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pixels(images[:20]).values
    monkeypatch.setattr(square_images, "MEMORY_LIMIT", 5 * images[0].nbytes)
    shutil.rmtree(Path(str(pixels.cache)))
    monkeypatch.setattr(pixels.rows, "_cache", None)
    np.testing.assert_array_equal(pixels(images[:20]).values, expected)
    assert pixels.stats.computed == 20


def test_a_dataset_with_random_transforms_is_said(
    pixels: hs.Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noise:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, _: int) -> tuple[np.ndarray, int]:
            return np.random.default_rng().integers(0, 256, (16, 16, 3), np.uint8), 0

    monkeypatch.setattr(square_images, "MEMORY_LIMIT", 0)
    with pytest.raises(hs.UserError, match="image 0 isn't the same when it is read again"):
        pixels(Noise())


def test_features_are_selected_like_an_array(train: ExtractedFeatures) -> None:
    for rows in (np.arange(40) % 3 == 0, np.array([1, 5, 7]), slice(2, 9)):
        part = train[rows]
        np.testing.assert_array_equal(part.values, train.values[rows])
        np.testing.assert_array_equal(part.digests, train.digests[rows])
        assert part.examples.ids == [str(i) for i in np.arange(40)[rows]]
        assert len(part) == len(part.examples)


class Small(nn.Module):
    """A network of one's own: each channel's mean, and that of the upper half."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [x.mean(dim=(2, 3)), x[:, :, : x.shape[2] // 2].mean(dim=(2, 3))]
        return torch.cat(parts, dim=1) * self.scale


SIZES: dict[str, Any] = {"input_size": 64, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def test_a_module_of_ones_own(tmp_path: Path, images: np.ndarray) -> None:
    module = Small().train()
    extractor = hs.Extractor(module, **SIZES, cache=tmp_path, dtype="float32", device="cpu")
    values = extractor(images[:5]).values[:, 0]
    with torch.inference_mode():
        x = torch.from_numpy(images[:5]).permute(0, 3, 1, 2) / 255
        np.testing.assert_allclose(values, module((x - 0.5) / 0.5).numpy(), atol=1e-5)
    assert module.training  # the caller's module is left as it was
    assert module.scale.requires_grad
    with torch.no_grad():
        module.scale.mul_(2)
    changed = hs.Extractor(module, **SIZES, cache=tmp_path, dtype="float32", device="cpu")
    assert changed.provenance != extractor.provenance
    np.testing.assert_allclose(changed(images[:5]).values[:, 0], 2 * values, rtol=1e-5)


def test_modules_that_differ_in_structure_alone_are_two(tmp_path: Path, images: np.ndarray) -> None:
    widths = []
    for side in (2, 4):
        module = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())
        extractor = hs.Extractor(module, **SIZES, cache=tmp_path, device="cpu")
        widths.append(extractor(images[:3]).values.shape[2])
    assert widths == [12, 48]
    assert len(list((tmp_path / "rows").iterdir())) == 2


def test_timms_modules_say_what_they_take() -> None:
    import timm

    module = timm.create_model("resnet18", num_classes=0)
    with torch.random.fork_rng():
        extractor = hs.Extractor(module, input_size=32, cache=None, device="cpu")
    assert extractor.provenance["preprocessing"]["interpolation"] == "bicubic"
    assert (extractor.side, extractor.width) == (32, 512)


class Unexportable(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if float(x.sum()) > 0 else x.flatten(1)


class Dictionary(Small):
    def forward(self, x: torch.Tensor) -> Any:
        return {"features": super().forward(x)}


@pytest.mark.parametrize(
    ("backbone", "settings", "message"),
    [
        ("resnt50", {}, "there is no backbone 'resnt50'; did you mean 'resnet50'"),
        ("bundled", {"batch_size": 0}, "^Extractor: batch_size: Input should be greater than 0"),
        ("bundled", {"dtype": "float64"}, "^Extractor: dtype: can't be 'float64'"),
        ("bundled", {"mean": (0.5,)}, "^Extractor: mean: wants three numbers"),
        ("bundled", {"weights": "no/such.pt"}, "no weights file 'no/such.pt'"),
        (Small(), {}, r"Small doesn't say what it takes; give its input_size.*mean and std"),
        (Small(), {**SIZES, "weights": "none"}, "a module has its weights"),
        (Unexportable(), SIZES, r"Unexportable can't be exported by torch\.export"),
        (Dictionary(), SIZES, r"the network returns a dict, not a tensor \[B, D\]"),
        (nn.Identity(), SIZES, r"the network returns \[3, 64, 64\] per image, not one vector"),
    ],
)
def test_what_is_no_extractor_is_said(
    backbone: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(hs.UserError, match=message) as told:
        hs.Extractor(backbone, **{"cache": None, "device": "cpu", **settings})
    assert "params.yaml" not in str(told.value)
