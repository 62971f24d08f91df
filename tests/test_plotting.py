from pathlib import Path

from headstart.plotting import save_figure


def draw(path: Path) -> bytes:
    with save_figure(path, 3, 2) as figure:
        axes = figure.subplots()
        axes.plot([1, 2], [3, 4], "o", label="a $5 note")
        axes.legend()
    return path.read_bytes()


def test_same_values_same_bytes(tmp_path: Path):
    assert draw(tmp_path / "a" / "one.svg") == draw(tmp_path / "b" / "two.svg")
    assert draw(tmp_path / "one.png") == draw(tmp_path / "two.png")


def test_text_stays_text(tmp_path: Path):
    drawn = draw(tmp_path / "one.svg").decode()
    assert "a $5 note" in drawn
    assert "<dc:date>" not in drawn
