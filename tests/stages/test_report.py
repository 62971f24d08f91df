import json
import re
from pathlib import Path

import numpy as np
import pytest

from headstart.core.errors import UserError
from headstart.metrics.paired_tests import mcnemar_p_value
from headstart.page.content import correct_predictions, load_predictions
from headstart.store.predicted_classes import load_correct
from tests.page.made_results import make_page, make_results

HOSTILE = [
    "<script>window.hacked = true</script>",
    "</script><script>window.hacked = true</script>",
    "<!-- <script>",
    '"><img src=x onerror="window.hacked = true">',
]


def data_of(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    return json.loads(found[1])


def test_the_page_states_what_the_results_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    make_results(monkeypatch, tmp_path, test=True)
    capsys.readouterr()
    page = make_page(monkeypatch, tmp_path)
    said = capsys.readouterr().out
    assert said.startswith("report/index.html: 2 runs, 60 val images, ")
    data = data_of(page)
    metrics = json.loads(
        (tmp_path / "results" / "evaluation" / "resnet50-linear" / "metrics.json").read_text()
    )
    assert data["chosen"] == "resnet50-linear"
    assert data["runs"][1]["metrics"] == metrics
    assert data["images"]["val"] == 60
    assert data["splits"] == {"train": 24, "tune": 30, "val": 60, "test": 10}
    runs = ["random-linear", "resnet50-linear"]
    correct = load_correct(tmp_path / "results" / "predictions", runs)
    [pair] = data["pairs"]
    assert (pair["better"], pair["worse"]) == ("resnet50-linear", "random-linear")
    better, worse = correct["resnet50-linear"], correct["random-linear"]
    assert pair["only_better"] == int((better & ~worse).sum())
    assert pair["only_worse"] == int((worse & ~better).sum())
    assert pair["p_value"] == pytest.approx(mcnemar_p_value(better, worse))
    per_class = data["runs"][1]["perClass"]
    assert sum(per_class["hits"]) == better.sum()
    assert per_class["n"] == [15] * 4


def test_the_same_results_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_results(monkeypatch, tmp_path)
    page = make_page(monkeypatch, tmp_path)
    first = page.read_bytes()
    page.unlink()
    assert make_page(monkeypatch, tmp_path).read_bytes() == first


def test_hostile_names_are_only_in_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_results(monkeypatch, tmp_path, names=HOSTILE, file_name="{split}/</script><b>{i}.png")
    page = make_page(monkeypatch, tmp_path)
    text = page.read_text()
    assert "window.hacked" not in re.sub(r'id="data">.*?</script>', "", text)
    assert [label["name"] for label in data_of(page)["classes"]] == HOSTILE
    # Two scripts run: the library and the page's own, each named by its hash in the policy.
    assert len(re.findall(r"<script>", text)) == 2
    assert len(re.findall(r"'sha256-[\w+/=]{44}'", text)) == 2


def test_more_images_than_the_page_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_results(monkeypatch, tmp_path)
    data = data_of(make_page(monkeypatch, tmp_path, max_images=20))
    assert data["images"]["val"] == 20
    assert data["splits"]["val"] == 60
    assert len(data["images"]["ids"]) == 40  # and as many training images
    assert sum(data["runs"][0]["perClass"]["n"]) == 60
    assert data["maps"][0]["embedded"] == 60
    assert len(data["maps"][0]["x"]) == 20


def test_right_and_wrong_are_those_of_the_table_of_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_results(monkeypatch, tmp_path, views=10)
    runs = ["random-linear", "resnet50-linear"]
    correct = correct_predictions(load_predictions(tmp_path / "results", runs))
    expected = load_correct(tmp_path / "results" / "predictions", runs)
    for run in runs:
        np.testing.assert_array_equal(correct[run], expected[run])


def test_results_of_other_images_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_results(monkeypatch, tmp_path)
    table = tmp_path / "results" / "top_classes" / "random-linear.tsv"
    table.write_text(table.read_text().replace("val/0.png", "val/other.png"))
    with pytest.raises(UserError, match="saw different val images"):
        load_predictions(tmp_path / "results", ["random-linear", "resnet50-linear"])
    with pytest.raises(SystemExit, match=r"^error: the results are not of these images; run `dvc"):
        make_page(monkeypatch, tmp_path, backbones=["random"])


def test_a_missing_table_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_results(monkeypatch, tmp_path, backbones=["random"])
    (tmp_path / "results" / "neighbors" / "random-train.tsv").unlink()
    with pytest.raises(
        SystemExit, match=r"^error: .*neighbors.random-train\.tsv is missing; `dvc repro`"
    ):
        make_page(monkeypatch, tmp_path, backbones=["random"])
