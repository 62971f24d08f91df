import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.core.errors import UserError
from headstart.report.localization import draw_localization_figures, localization_section
from headstart.store.localizations import (
    LOCALIZER,
    TRUTH,
    BoxRow,
    Picture,
    write_boxes,
    write_pictures,
)


def measured(iou: float, **gains: float) -> dict:
    values = {"iou": iou, "average_precision": iou / 2, **gains}
    return {
        key: value
        for name, number in values.items()
        for key, value in ((name, number), (f"{name}_interval", [number - 0.1, number + 0.1]))
    }


def entry(iou: float) -> dict:
    baseline = measured(iou - 0.2, localizer_iou_gain=0.2)
    return {"n": 7, LOCALIZER: measured(iou), "ridge": baseline, "mean_box": baseline}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "localization" / "net"
    classes = {"n1": {"name": "goldfish"} | entry(0.5), "../n2": {"name": "ladybug"} | entry(0.7)}
    pictures, rows = [], []
    for class_id in classes:
        for number in range(8):
            id_ = f"{class_id}/{number}"
            pictures.append(Picture(id_, np.zeros((32, 32, 3), np.uint8)))
            rows.append(BoxRow(id_, class_id, TRUTH, 4, 4, 20, 20, 1.0, 1))
            rows.append(BoxRow(id_, class_id, LOCALIZER, 6, 6, 22, 28, 0.8, 1))
            rows.append(BoxRow(id_, class_id, LOCALIZER, 1, 1, 2, 2, 0.1, 0))
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"classes": classes, "mean": entry(0.6)}))
    write_boxes(folder / "boxes.tsv", rows)
    write_pictures(folder / "pictures.h5", pictures)
    return tmp_path / "results"


def test_the_section_states_every_method_with_its_interval(results: Path):
    text = localization_section(results, ["net"], 0.95)
    assert "| goldfish | 7 | LSTM on net | 0.500 [0.400, 0.600] | 0.250 [0.150, 0.350] |" in text
    assert "| **mean of the classes** | 7 | ridge regression | 0.400 [0.300, 0.500] |" in text
    assert "exceeds that of ridge regression by 0.200 [0.100, 0.300] and that of the mean" in text
    assert localization_section(results, [], 0.95) == ""


def test_a_picture_of_each_class_with_both_boxes(results: Path, tmp_path: Path):
    draw_localization_figures(results, tmp_path / "figures", ["net"])
    drawn = sorted((tmp_path / "figures" / "localization" / "net").iterdir())
    assert [path.name for path in drawn] == ["000.png", "001.png"]
    colors = np.asarray(Image.open(drawn[0]).convert("RGB")).reshape(-1, 3)
    orange = np.abs(colors.astype(int) - (0xE4, 0x57, 0x2E)).sum(1) < 12
    assert orange.sum() > 500
    draw_localization_figures(results, tmp_path / "again", ["net"])
    again = tmp_path / "again" / "localization" / "net" / "000.png"
    assert again.read_bytes() == drawn[0].read_bytes()


def test_a_backbone_without_results(tmp_path: Path):
    with pytest.raises(UserError, match=r"metrics\.json is missing; `dvc repro` makes it"):
        localization_section(tmp_path, ["net"], 0.95)
