from pathlib import Path

import numpy as np
import pytest

from headstart.attribution import activation_maps, load_linear_classifier
from headstart.backbones.loading import load_backbone
from headstart.config import load_params
from headstart.core.devices import resolve_device
from headstart.store.attributions import load_attribution
from headstart.store.images import open_images
from headstart.store.top_classes import load_top_classes
from tests import cases
from tests.page.made_results import PARAMS, make_results
from tests.test_attribution import save_linear_head

PATHS = (
    *("--images", "data/images.h5", "--trained", "data/trained"),
    *("--top", "results/top_classes", "--attribution", "data/attribution"),
)
ACTIVE = PARAMS | {"extract": {"backbones": ["random"], "device": "cpu"}}


def test_it_is_off_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cases.run_stage(monkeypatch, tmp_path, "attribution", *PATHS)
    assert capsys.readouterr().out == "report.attribution is off\n"
    assert list((tmp_path / "data" / "attribution").iterdir()) == []


def test_the_most_confident_mistakes_have_maps_of_both_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    names = ["a", "b", "c"]
    make_results(monkeypatch, tmp_path, val=24, names=names, backbones=["random"], side=64)
    zoo = load_params(tmp_path / "params.yaml").single_backbones
    provenance = load_backbone(zoo["random"]).provenance
    save_linear_head(tmp_path / "data" / "trained" / "random-linear", 2048, provenance)
    capsys.readouterr()
    shown = ACTIVE | {"report": {"attribution": True, "max_images": 5}}
    cases.run_stage(monkeypatch, tmp_path, "attribution", *PATHS, **shown)
    assert capsys.readouterr().out == "random-linear: 5 images\n"

    made = load_attribution(tmp_path / "data" / "attribution" / "random-linear.h5")
    top = load_top_classes(tmp_path / "results" / "top_classes" / "random-linear.tsv")
    wrong = np.flatnonzero(top.classes[:, 0] != np.array(top.labels))
    surest = wrong[np.argsort(-top.probabilities[wrong, 0], kind="stable")[:5]]
    assert set(made.ids) == {top.ids[i] for i in surest}
    model = load_linear_classifier(tmp_path / "data" / "trained" / "random-linear", zoo)
    with open_images(tmp_path / "data" / "images.h5") as images:
        row = images.examples.ids.index(made.ids[0])
        pixels = images.pixels[row : row + 1]
    i = top.ids.index(made.ids[0])
    pair = [[int(top.classes[i, 0][1:]), int(top.labels[i][1:])]]
    expected = activation_maps(model, pixels, np.array(pair), resolve_device("cpu"))
    np.testing.assert_allclose(made.maps[0], expected[0], rtol=1e-4, atol=1e-4)
