"""`headstart layers`: the names that `layers` in zoo takes."""

import re
from pathlib import Path

import numpy as np
import pytest

from headstart.api.extractor import Extractor
from tests import cases


def test_the_modules_of_an_alias_or_an_architecture_with_their_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = {"architecture": "resnet10t", "weights": "none", "input_size": 64}
    cases.write_project(tmp_path, zoo={"tiny": tiny})
    monkeypatch.chdir(tmp_path)
    cases.run_command("layers", "tiny")
    listed = capsys.readouterr().out
    assert re.search(r"^layer3 +256 x 4 x 4$", listed, re.MULTILINE)
    assert re.search(r"^layer4 +512 x 2 x 2$", listed, re.MULTILINE)
    cases.run_command("layers", "resnet10t")
    assert re.search(r"^layer4 +512 x 6 x 6$", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(SystemExit, match=r"error: 'both' is a concatenation; name one of its mem"):
        cases.run_command("layers", "both")
    with pytest.raises(SystemExit, match=r"error: there is no backbone 'tini'; did you mean"):
        cases.run_command("layers", "tini")


def test_the_library_takes_layers_and_shares_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    both, last = (
        Extractor("bundled", layers=layers, device="cpu")
        for layers in (["layer3", "layer4"], ["layer4"])
    )
    features = both(images).values
    assert both.stats.computed == 3
    np.testing.assert_array_equal(last(images).values, features[..., 1024:])
    assert last.stats.computed == 0
