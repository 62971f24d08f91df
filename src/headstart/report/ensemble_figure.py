"""The figure of how good an ensemble is against the number of its members."""

from pathlib import Path

from headstart.plotting import save_figure
from headstart.store.ensemble_curves import EnsembleCurve


def draw_ensemble_curve(path: Path, curve: EnsembleCurve, chosen_by: str) -> None:
    """The score on tune and val against the number of members (Milani, fig. 6).

    The number that tune chose is marked in red. chosen_by: what the score is.
    """
    counts = [size.count for size in curve]
    chosen = sum(size.kept for size in curve)
    with save_figure(path, 6, 3.8) as figure:
        axes = figure.subplots()
        for split, style, color in (("tune", "o--", "#8a8a8a"), ("val", "o-", "#1f5fa8")):
            percent = [100 * getattr(size, f"{split}_score") for size in curve]
            axes.plot(counts, percent, style, color=color, label=split, markersize=4)
            axes.plot([chosen], [percent[chosen - 1]], "o", color="#c22121", zorder=3)
        axes.set_xticks(counts)
        axes.set_xlabel("members of the ensemble (red: the number that tune chooses)")
        axes.set_ylabel(f"{chosen_by} in %")
        axes.legend()
