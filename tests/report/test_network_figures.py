"""The figures of studies, output distributions, filters and sheets."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.core.errors import UserError
from headstart.report.filter_figure import draw_filters
from headstart.report.image_sheet_figure import draw_sheet
from headstart.report.output_figure import draw_outputs
from headstart.report.study_figure import draw_study
from headstart.report.training_curve_figure import draw_training_curve, first_phase_end
from headstart.store.filters import load_filters, write_filters
from headstart.store.image_sheets import ImageSheet
from headstart.store.output_statistics import (
    OutputStatistics,
    load_output_statistics,
    write_output_statistics,
)
from headstart.store.training_curves import Epoch, TrainingCurve


def curve(epochs: int, first_phase: int | None = None) -> TrainingCurve:
    first = epochs if first_phase is None else first_phase
    return [
        Epoch(i, 2 / i, 0.3, 2.5 / i, 0.2, 1 if i <= first else 2) for i in range(1, epochs + 1)
    ]


def test_a_study_names_its_runs_and_draws_train_and_tune_of_each(tmp_path: Path):
    draw_study(tmp_path / "one.svg", {"narrow": curve(3), "wide": curve(5, first_phase=2)})
    draw_study(tmp_path / "two.svg", {"narrow": curve(3), "wide": curve(5, first_phase=2)})
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert drawn.count(">narrow<") == drawn.count(">wide<") == 1
    assert ">epoch (solid: tune, dashed: train)<" in drawn


def test_the_switch_between_two_phases_is_marked(tmp_path: Path):
    assert first_phase_end(curve(4)) is None
    assert first_phase_end(curve(4, first_phase=3)) == 3.5
    for number, first_phase in enumerate((None, 2)):
        draw_training_curve(tmp_path / f"{number}.svg", curve(4, first_phase))
    label = ">from here on the trunk is trained, too<"
    assert [label in (tmp_path / f"{number}.svg").read_text() for number in (0, 1)] == [False, True]


def test_bands_have_a_panel_per_module(tmp_path: Path):
    rows = [
        OutputStatistics(step, module, 3.0, 0.5, 1.0, -2.5)
        for step in (0, 10, 20)
        for module in ("features.7", "classifier")
    ]
    write_output_statistics(tmp_path / "outputs.tsv", rows)
    assert load_output_statistics(tmp_path / "outputs.tsv") == rows
    draw_outputs(tmp_path / "outputs.svg", rows)
    drawn = (tmp_path / "outputs.svg").read_text()
    assert re.findall(r">(features\.7|classifier)<", drawn) == ["features.7", "classifier"]
    write_output_statistics(tmp_path / "none.tsv", [])
    assert load_output_statistics(tmp_path / "none.tsv") == []


def test_filters_are_a_grid_with_gray_for_zero(tmp_path: Path):
    filters = np.zeros((20, 3, 5, 5), np.float32)
    filters[1, 0] = 0.3  # red at its largest
    write_filters(tmp_path / "filters.npy", filters)
    assert np.array_equal(load_filters(tmp_path / "filters.npy"), filters)
    draw_filters(tmp_path / "filters.png", filters)
    with Image.open(tmp_path / "filters.png") as image:
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 20) or []}
    assert {(127, 127, 127), (255, 127, 127)} <= colors


def test_a_damaged_or_missing_array_names_the_fix(tmp_path: Path):
    with pytest.raises(UserError, match=r"filters.npy is missing; `dvc repro` makes it"):
        load_filters(tmp_path / "filters.npy")
    (tmp_path / "filters.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match=r"filters.npy can't be read; delete it"):
        load_filters(tmp_path / "filters.npy")


def test_a_sheet_shows_images_of_any_size(tmp_path: Path):
    images = [np.full((side, side, 3), 200, np.uint8) for side in (8, 30, 64)]
    draw_sheet(tmp_path / "sheet.svg", ImageSheet(images, ["small", "middle", "large"], columns=2))
    drawn = (tmp_path / "sheet.svg").read_text()
    assert [name in drawn for name in (">small<", ">middle<", ">large<")] == [True] * 3
