"""`headstart classify`: every file gets a row, and every fault of a folder a message."""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from headstart.backbones.loading import load_backbone
from headstart.cli.main import main
from headstart.config import Backbone
from headstart.core.file_digests import file_sha256
from headstart.data.files.file_tree import open_tree
from headstart.inference import image_stream
from headstart.inference.trained_model import load_model
from headstart.packaging.model_description import DESCRIPTION_FILE
from tests import cases


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is started outside of the project."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def carried(packaged: Path, tmp_path: Path) -> Path:
    """A copy of one model folder."""
    return shutil.copytree(packaged / "data/models/tiny-lda", tmp_path / "carried")


def classify(run: str, images: Path, *more: str) -> list[dict[str, str]]:
    """The rows of the table that the command makes."""
    cases.run_command("classify", run, str(images), "-o", "table.tsv", *more)
    with Path("table.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def encoded(image: Image.Image, format_: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_)
    return buffer.getvalue()


def test_every_file_has_a_row(
    packaged: Path, carried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gray16 = Image.fromarray(np.full((30, 20), 40000, np.uint16))
    members = {
        "a/broken.jpg": b"none",
        "a/cmyk.jpg": encoded(Image.new("CMYK", (50, 40), (0, 200, 100, 0)), "JPEG"),
        "a/deep.png": encoded(gray16, "PNG"),
        "a/empty.png": b"",
        "a/pixel.png": encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
        "a/same.png": (packaged / "new/00.png").read_bytes(),
        "large.jpg": encoded(Image.new("RGB", (300, 200), "white"), "JPEG"),
        "notes.txt": b"none",
    }
    with zipfile.ZipFile("more.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    rows = {row["file"]: row for row in classify("carried", Path("more.zip"), "--batch-size", "3")}
    assert list(rows) == list(members)
    said = "classified images: 5; files without a class: 3, see the column `problem`"
    assert said in capsys.readouterr().out
    problems = {name: row["problem"] for name, row in rows.items() if not row["class"]}
    assert set(problems) == {"a/broken.jpg", "a/empty.png", "notes.txt"}
    assert problems["a/broken.jpg"].startswith("not an image of a known format")
    assert problems["notes.txt"].startswith("its name doesn't end as an image's does")
    [alone] = classify(str(carried), _folder_with(members["a/same.png"]))
    assert {**rows["a/same.png"], "file": ""} == {**alone, "file": ""}


def test_images_like_no_training_image_are_unknown(
    packaged: Path, carried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(packaged / "new", "new")
    Image.fromarray(np.full((40, 40, 3), 255, np.uint8)).save("new/white.png")
    plain = classify("carried", Path("new"))
    percent = {row["file"]: float(row["familiarity"]) for row in plain}
    assert percent.pop("white.png") == 0 <= min(percent.values())
    assert all(row["class"] != "unknown" for row in plain)

    capsys.readouterr()
    rows = classify("carried", Path("new"), "--reject", "10")
    rejected = [row["file"] for row in rows if row["class"] == "unknown"]
    assert rejected == [row["file"] for row in plain if float(row["familiarity"]) < 10]
    assert f"classified images: 17, {len(rejected)} of them as unknown; " in capsys.readouterr().out
    described = json.loads((carried / DESCRIPTION_FILE).read_text())
    described["reject"] = 10
    (carried / DESCRIPTION_FILE).write_text(json.dumps(described))
    assert classify("carried", Path("new")) == rows


def test_a_network_of_the_papers_cannot_reject(
    packaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = ("small", str(packaged / "new"), "-o", "table.tsv", "--project", str(packaged))
    assert main(["classify", *images, "--reject", "5"]) == 1
    assert "--reject: small doesn't know how familiar an image is" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["classify", *images, "--reject", "120"])
    assert "'120' is not a number between 0 and 100" in capsys.readouterr().err


def _folder_with(content: bytes) -> Path:
    folder = Path("one")
    folder.mkdir()
    (folder / "image.png").write_bytes(content)
    return folder


def test_an_interrupted_run_goes_on_from_the_cache(
    packaged: Path, carried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_stream, "BLOCK_IMAGES", 4)
    source = open_tree(packaged / "new")

    def predictions() -> tuple[Iterator[image_stream.ImagePrediction], list[int]]:
        model = load_model(carried, "cpu", batch_size=4)
        runtime = model.members[0].rows[0].extractor.runtime  # pyright: ignore
        batches, submit = [], runtime.submit
        monkeypatch.setattr(runtime, "submit", lambda x: batches.append(len(x)) or submit(x))
        return image_stream.classify_files(model, source, source.names, Path("cache")), batches

    first, _ = predictions()
    begun = [next(first) for _ in range(8)]
    first.close()  # pyright: ignore[reportAttributeAccessIssue]
    again, batches = predictions()
    found = list(again)
    assert found[:8] == begun
    assert len(found) == 16
    # Ten views of 8 images in batches of 4; whole and corner views of cached ones are checked.
    assert len(batches) < 40
    complete, batches = predictions()
    assert list(complete) == found
    assert len(batches) <= 2 * 4


def test_a_run_by_its_name(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = classify("tiny-lda", packaged / "new", "--project", str(packaged))
    monkeypatch.chdir(packaged / "data")
    cases.run_command("classify", "tiny-lda", "../new", "-o", "../here.tsv")
    assert len((packaged / "here.tsv").read_text().splitlines()) == len(rows) + 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny-lda"], r"no model's folder tiny-lda here, and .* is not in a project"),
        (["./tiny-lda"], r"there is no folder \./tiny-lda"),
        (["data/x", "--project", "."], r"data/x is a path; leave out --project"),
        (["tiny-lad", "--project", "PROJECT"], r"no trained run 'tiny-lad'; did you mean 'tiny-ld"),
    ],
)
def test_a_run_that_is_not_there(packaged: Path, arguments: list[str], said: str) -> None:
    arguments = [str(packaged) if word == "PROJECT" else word for word in arguments]
    with pytest.raises(SystemExit, match=said):
        cases.run_command("classify", *arguments, str(packaged / "new"), "-o", "table.tsv")


@pytest.mark.parametrize(
    ("new", "said"),
    [("nowhere", r"FOLDER: .*nowhere doesn't exist"), ("data/models", r"FOLDER: .* no images")],
)
def test_images_that_are_not_there(packaged: Path, carried: Path, new: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        classify(str(carried), packaged / new)


def change(folder: Path, **changes: object) -> None:
    path = folder / DESCRIPTION_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_damaged_folders_and_other_versions(packaged: Path, carried: Path) -> None:
    head, described = carried / "head.safetensors", carried / DESCRIPTION_FILE
    sound, text = head.read_bytes(), described.read_text()
    digest = file_sha256(head)

    def refused(said: str) -> None:
        with pytest.raises(SystemExit, match=said):
            classify(str(carried), packaged / "new")
        assert not Path("table.tsv").exists()
        head.write_bytes(sound)
        described.write_text(text)

    head.write_bytes(sound[:-1] + b"!")
    refused(rf"head\.safetensors is damaged: its sha256 is .*, and model\.json says {digest}")
    head.unlink()
    refused(rf"head\.safetensors is missing \(its sha256 is {digest}\); copy the folder again")
    described.write_text(text[: len(text) // 2])
    refused(r"model\.json is damaged \(it is not JSON\); copy the folder again")
    change(carried, temperature=-1)
    refused(r"model\.json is damaged \(at temperature\); copy the folder again")
    change(carried, format=2, versions={"headstart": "9.1"})
    refused(r"a model of format 2, written by headstart 9\.1, and this version reads format 1")
    described.unlink()
    refused(r"holds no model \(model\.json is missing\)")
    [member] = json.loads(text)["members"]
    change(carried, members=[{**member, "file": "../../head.safetensors"}])
    refused(r"model\.json is damaged \(at members\.0")


def test_weights_in_a_file_of_their_own(packaged: Path, carried: Path) -> None:
    network = load_backbone(Backbone(architecture="resnet10t", weights="none", input_size=32))
    tensors = {name: tensor.numpy() for name, tensor in network.network.state_dict().items()}
    save_file(tensors, "own.safetensors")
    expected = classify(str(carried), packaged / "new")
    digest = file_sha256(Path("own.safetensors"))
    [member] = json.loads((carried / DESCRIPTION_FILE).read_text())["members"]
    entry = member["backbones"]["tiny"]["entry"]
    entry |= {"weights": "/gone/own.safetensors", "sha256": digest}
    change(carried, members=[member])
    said = rf"the weights file /gone/own\.safetensors of resnet10t is missing; .* sha256 {digest}"
    with pytest.raises(SystemExit, match=said):
        classify(str(carried), packaged / "new")
    shutil.copy("own.safetensors", carried)
    assert classify(str(carried), packaged / "new") == expected
    entry |= {"weights": "none", "seed": 7}
    del entry["sha256"]
    change(carried, members=[member])
    with pytest.raises(SystemExit, match=r"the weights of the backbone 'tiny' .* have the digest"):
        classify(str(carried), packaged / "new")
