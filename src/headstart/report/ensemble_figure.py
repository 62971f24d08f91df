"""The figure of accuracy against the number of ensemble members."""

from pathlib import Path

from headstart.evaluation.ensembles import Choice
from headstart.plotting import save_figure


def draw_ensemble_curve(path: Path, choice: Choice) -> None:
    """Accuracy against the number of members, the number that tune chooses in red (fig. 6)."""
    counts = range(1, len(choice.order) + 1)
    with save_figure(path, 6, 3.8) as figure:
        axes = figure.subplots()
        for split, curve, style in (("tune", choice.tune, "o--"), ("val", choice.val, "o-")):
            percent = [100 * top1 for top1 in curve]
            color = "#8a8a8a" if split == "tune" else "#1f5fa8"
            axes.plot(counts, percent, style, color=color, label=split, markersize=4)
            chosen = percent[choice.count - 1]
            axes.plot([choice.count], [chosen], "o", color="#c22121", zorder=3)
        axes.set_xticks(counts)
        axes.set_xlabel("members of the ensemble (red: the number that tune chooses)")
        axes.set_ylabel("top-1 accuracy in %")
        axes.legend()
