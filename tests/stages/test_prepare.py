"""Each bad input as a user meets it: through the command line."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.manifest import load_manifest
from headstart.store.images import open_images
from tests import cases
from tests.data.datasets import layouts
from tests.pictures import encoded, noise, put

ARGUMENTS = ("--manifest", "data/manifest.jsonl")
Prepare = Callable[..., None]


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Runs the stage in `tmp_path` on the images in `tmp_path`/raw, or on another dataset."""

    def run(*, dataset: dict[str, Any] | None = None, **section: Any) -> None:
        chosen = {"name": "image_folder", "path": "raw", **(dataset or {})}
        cases.run_stage(
            monkeypatch, tmp_path, "prepare", *ARGUMENTS, dataset=chosen, prepare=section
        )

    return run


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return layouts.image_folder(tmp_path / "raw", "train", "val")


def error_of(run: Callable[[], None]) -> str:
    with pytest.raises(SystemExit) as stopped:
        run()
    assert isinstance(stopped.value.code, str)
    assert stopped.value.code.startswith("error: ")
    return stopped.value.code


def test_says_what_it_did_in_figures(
    prepare: Prepare, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    put(raw / "train" / "Kuh" / "README.txt", b"x")
    prepare()
    assert capsys.readouterr().out == (
        "30 images of 3 classes: 12 train, 3 tune, 15 val, 0 test; "
        "0 excluded, 0 unreadable, 1 other files passed over\n"
    )
    made = (tmp_path / "data" / "manifest.jsonl").read_bytes()
    prepare()
    assert (tmp_path / "data" / "manifest.jsonl").read_bytes() == made


def test_excluded_images_are_left_out_and_counted(
    prepare: Prepare, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    prepare()
    excluded = load_manifest(tmp_path / "data" / "manifest.jsonl").entries[0].id
    (tmp_path / "out.tsv").write_text(f"id\tnote\n{excluded}\tblurred\n")
    capsys.readouterr()
    prepare(exclude="out.tsv")
    assert "29 images of 3 classes" in (said := capsys.readouterr().out)
    assert "1 excluded" in said
    entries = load_manifest(tmp_path / "data" / "manifest.jsonl").entries
    assert excluded not in {entry.id for entry in entries}
    (tmp_path / "out.tsv").write_text(f"id\n{excluded}x\n")
    assert f"did you mean '{excluded}'?" in error_of(lambda: prepare(exclude="out.tsv"))


def test_says_what_changed_since_the_last_run(
    prepare: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    raw = tmp_path / "raw"
    for number in range(36):
        put(raw / "ABC"[number % 3] / f"{number}.png", seed=number)
    prepare()
    assert "since" not in capsys.readouterr().out
    prepare()
    same = "; since the last run 0 changed splits, 0 were added, 0 removed\n"
    assert capsys.readouterr().out.endswith(same)
    (raw / "A").rename(raw / "X")
    for file in list((raw / "B").iterdir()):
        file.rename(file.with_name(f"renamed {file.name}"))
    prepare()
    assert capsys.readouterr().out.endswith(same)
    put(raw / "C" / "new.png", seed=36)
    (raw / "X" / "0.png").unlink()
    prepare()
    assert ", 1 were added, 1 removed\n" in capsys.readouterr().out


def oddities() -> dict[str, tuple[bytes, np.ndarray]]:
    """File names to their content and the pixels that are meant."""
    color, gray = noise(8, 8), noise(8, 8)[..., :1].repeat(3, 2)
    palette = Image.fromarray(color).quantize(16)
    frames = [Image.new("RGB", (8, 8), name) for name in ("red", "blue")]
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn anticlockwise
    transparent = np.dstack([color, np.zeros((8, 8, 1), np.uint8)])
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    return {
        "gray.png": (encoded(gray[..., 0]), gray),
        "16 bits.png": (encoded(Image.fromarray(gray[..., 0] * np.uint16(257))), gray),
        "palette.png": (encoded(palette), np.asarray(palette.convert("RGB"))),
        "CMYK.tif": (encoded(cmyk, "TIFF"), np.full((8, 8, 3), [255, 0, 0])),
        "alpha.png": (encoded(transparent), np.full((8, 8, 3), 255)),
        "animated.gif": (
            encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            np.full((8, 8, 3), [255, 0, 0]),
        ),
        "rotated.png": (encoded(np.ascontiguousarray(np.rot90(color)), exif=exif), color),
        "größe 大.png": (encoded(color), color),
    }


def test_what_can_be_read_correctly_is(
    prepare: Prepare, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, (data, _) in oddities().items():
        put(raw / "val" / "Kuh" / name, data)
    prepare()
    cases.run_stage(
        monkeypatch,
        tmp_path,
        "resize",
        *(*ARGUMENTS, "--images", "data/images.h5"),
        dataset={"name": "image_folder", "path": "raw"},
        resize={"side": 8},
    )
    with open_images(tmp_path / "data" / "images.h5") as stored:
        for name, (_, pixels) in oddities().items():
            row = stored.examples.ids.index(f"val/Kuh/{name}")
            np.testing.assert_array_equal(stored.pixels[row], pixels, err_msg=name)


BAD: dict[str, tuple[bytes, str]] = {
    "cut.jpg": (encoded(noise(64, 64), "JPEG")[:-300], "damaged: Premature end of JPEG file"),
    "empty.png": (b"", "the file is empty"),
    "page.jpg": (b"<html>404 Not Found</html>", "not an image of a known format (JPEG, PNG"),
    "phone.heic": (b"\0\0\0\x18ftypheic", "not an image of a known format (JPEG, PNG"),
    "huge.png": (
        encoded(Image.new("1", (1100, 1000))),
        "1100 x 1000 pixels, more than max_pixels (1000000)",
    ),
    "depth.tif": (encoded(Image.new("F", (4, 4)), "TIFF"), "white is not defined"),
}


def test_what_cannot_be_read_is_listed_and_stops(prepare: Prepare, raw: Path, tmp_path: Path):
    for name, (data, _) in BAD.items():
        put(raw / "train" / "Kuh" / name, data)
    message = error_of(lambda: prepare(max_pixels=1_000_000))
    assert message.startswith("error: 6 of 36 images can't be read:\n")
    lines = message.splitlines()
    for name, (_, reason) in BAD.items():
        assert any(f"train/Kuh/{name} " in line and reason in line for line in lines), name
    assert lines[-1].endswith("leave them out with `prepare.on_bad_image: skip`.")
    assert not (tmp_path / "data" / "manifest.jsonl").exists()


def test_skip_leaves_them_out_and_lists_them(
    prepare: Prepare, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, (data, _) in BAD.items():
        put(raw / "train" / "Kuh" / name, data)
    prepare(max_pixels=1_000_000, on_bad_image="skip")
    said = capsys.readouterr().out
    for name, (_, reason) in BAD.items():
        assert any(name in line and reason in line for line in said.splitlines()), name
    assert said.splitlines()[-1].startswith("30 images of 3 classes")
    assert "6 unreadable" in said
    ids = {entry.id for entry in load_manifest(tmp_path / "data" / "manifest.jsonl").entries}
    assert not ids & {f"train/Kuh/{name}" for name in BAD}


def test_an_empty_class(prepare: Prepare, raw: Path):
    (raw / "train" / "Esel").mkdir()
    assert "no images in the class folders 'Esel'; add some or delete" in error_of(prepare)


def test_a_class_missing_from_a_split(prepare: Prepare, raw: Path):
    (raw / "val" / "Kuh").rename(raw / "val" / "Ziege")
    assert "train has no class 'Ziege'; valid: Hund, Katze, Kuh" in error_of(prepare)
    for file in (raw / "val" / "Ziege").iterdir():
        file.unlink()
    message = error_of(prepare)
    assert "val has no image of 'Kuh'" in message
    assert "add images, or remove the class from every split" in message


def test_a_class_with_one_training_image(prepare: Prepare, raw: Path):
    put(raw / "train" / "Esel" / "1.png")
    put(raw / "val" / "Esel" / "1.png")
    message = error_of(prepare)
    assert "train has no image" not in message
    assert "tune has no image of 'Esel'" in message
    assert "Every class needs two different training images" in message


def test_an_id_twice_in_a_zip(prepare: Prepare, raw: Path, tmp_path: Path):
    archive = layouts.zipped(raw, tmp_path / "raw.zip")
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(archive, "a") as opened,
    ):
        opened.writestr("train/Kuh/0.png", encoded(noise()))
    message = error_of(lambda: prepare(dataset={"path": "raw.zip"}))
    assert "raw.zip holds 'train/Kuh/0.png' twice; create the .zip again" in message


def test_an_id_twice_in_annotations(prepare: Prepare, tmp_path: Path):
    root = layouts.tiny_imagenet(tmp_path / "tiny")
    annotations = root / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text() + "val_3.JPEG\tn02012849\t0\t0\t5\t5\n")
    message = error_of(lambda: prepare(dataset={"name": "tiny_imagenet", "path": "tiny"}))
    assert "1 ids stand for more than one image: 'val/images/val_3.JPEG'" in message


def test_tiny_imagenet_from_a_zip(prepare: Prepare, tmp_path: Path):
    layouts.zipped(
        layouts.tiny_imagenet(tmp_path / "tiny"), tmp_path / "tiny.zip", "tiny-imagenet-200/"
    )
    prepare(dataset={"name": "tiny_imagenet", "path": "tiny.zip"})
    entries = load_manifest(tmp_path / "data" / "manifest.jsonl").entries
    assert sum(entry.split == "test" for entry in entries) == 5
    assert all(len(entry.boxes) == 1 for entry in entries if entry.split != "test")


def test_a_path_that_is_not_there(prepare: Prepare):
    assert "raw doesn't exist; name your folder or .zip" in error_of(prepare)


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(cases.ROOT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_as_a_process(tmp_path: Path, raw: Path):
    cases.write_params(tmp_path, dataset={"name": "image_folder", "path": "raw"})
    done = started(tmp_path, "-m", "stages.prepare", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30 images of 3 classes: 12 train, 3 tune, 15 val, 0 test")
    header, *lines = (tmp_path / "data" / "manifest.jsonl").read_text("utf-8").splitlines()
    assert len(json.loads(header)["classes"]) == 3
    assert len(lines) == 30

    cases.write_params(tmp_path, dataset={"name": "image_folder", "path": "data/raw"})
    for name in ("a", "ü"):
        put(tmp_path / "data" / "raw" / name / "1.png", b"no")
    done = started(tmp_path, "-m", "stages.prepare", *ARGUMENTS)
    assert done.returncode == 1
    assert "error: 2 of 2 images can't be read:\n  a/1.png  not an image" in done.stderr
    assert "  ü/1.png  not an image" in done.stderr
    assert "Traceback" not in done.stderr


def test_neither_stage_imports_torch_or_timm(tmp_path: Path, raw: Path):
    cases.write_params(tmp_path, dataset={"name": "image_folder", "path": "raw"})
    code = (
        "import runpy, sys\n"
        "for stage, more in (('prepare', []), ('resize', ['--images', 'i.h5'])):\n"
        "    sys.argv = [stage, '--manifest', 'm.jsonl', *more]\n"
        "    runpy.run_module(f'stages.{stage}', run_name='__main__')\n"
        "assert not {'torch', 'timm', 'sklearn'} & set(sys.modules)\n"
    )
    done = started(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "stored 30 images of 9 x 9 px" in done.stdout
