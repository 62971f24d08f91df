"""The README's example as it is written there, and how quickly the library is imported."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from tests.api.conftest import NAMES, patches
from tests.cases import ROOT


class Patches:
    """A torch Dataset: of PIL images and the names of their classes."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, position: int) -> tuple[Image.Image, str]:
        name = NAMES[position % 4]
        return Image.fromarray(patches(name, 20)[10 + position // 4]), name


def test_the_readmes_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code.count('"resnet50"') == 1
    for name in NAMES:
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for index, pixels in enumerate(patches(name)):
            Image.fromarray(pixels).save(tmp_path / "flowers" / name / f"{index}.jpg")
    Image.fromarray(patches("cloud")[3]).save(tmp_path / "new.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("HEADSTART_CACHE", raising=False)

    exec(code.replace('"resnet50"', '"bundled"'), {"val_dataset": Patches()})

    shown = capsys.readouterr().out
    assert re.search(r"^n = 20, one view, 95% bootstrap intervals\ntop1 +\d", shown)
    assert "['cloud']" in shown
    assert list((tmp_path / ".cache" / "headstart" / "rows").iterdir())


def test_importing_headstart_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys, headstart as hs; hs.__version__; hs.UserError; dir(hs); "
        "print(sorted({'torch', 'timm', 'numpy', 'headstart.api'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    for name in hs.__all__:
        assert getattr(hs, name) is not None
    assert set(hs.__all__) <= set(dir(hs))
    with pytest.raises(AttributeError, match="module 'headstart' has no attribute 'LinearHed'"):
        _ = hs.LinearHed  # pyright: ignore[reportAttributeAccessIssue]


def test_an_array_dataset_of_numbers_keeps_them(extractor: hs.Extractor) -> None:
    class Tensors:
        classes = ("a", "b", "c")

        def __len__(self) -> int:
            return 3

        def __getitem__(self, position: int) -> tuple[np.ndarray, np.int64]:
            return patches("cloud")[position].transpose(2, 0, 1), np.int64(2 - position)

    features = extractor(Tensors())
    assert features.numeric_labels
    assert [(label.id, label.name) for label in features.examples.classes] == [
        *(("0", "a"), ("1", "b"), ("2", "c"))
    ]
    assert features.examples.labels.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(features.values, extractor(patches("cloud")[:3]).values)
