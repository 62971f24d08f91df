"""All figures of a report, drawn from the tables that the other stages wrote.

Tables lie in `<results>/<kind>/`, figures in `<figures>/<kind>/`, both under the name of a run, an
ensemble or a backbone.
"""

from pathlib import Path

from headstart.metrics.selection import CRITERIA
from headstart.report.comparison import Results
from headstart.report.crop_accuracy_figure import draw_crop_accuracies
from headstart.report.ensemble_figure import draw_ensemble_curve
from headstart.report.filter_figure import draw_filters
from headstart.report.image_sheet_figure import draw_sheet
from headstart.report.output_figure import draw_outputs
from headstart.report.reliability_figure import draw_reliability
from headstart.report.study_figure import draw_study
from headstart.report.training_curve_figure import draw_training_curve
from headstart.report.tsne_figure import draw_tsne
from headstart.report.tuning_figure import draw_tuning
from headstart.store.crop_accuracies import load_crop_accuracies
from headstart.store.embeddings import load_embedding
from headstart.store.ensemble_curves import load_ensemble_curve
from headstart.store.filters import load_filters
from headstart.store.image_sheets import load_sheet
from headstart.store.output_statistics import load_output_statistics
from headstart.store.reliability_bins import load_reliability_bins
from headstart.store.run_metrics import primary_protocol
from headstart.store.training_curves import load_training_curve
from headstart.store.tuning_results import load_tuning_results

PROTOCOLS = {"whole": "one view", "ten_crop": "ten crops"}


def draw_training_figures(
    results: Path, figures: Path, runs: list[str], tuned_runs: list[str]
) -> None:
    """The training curve of each of `runs` that has epochs, and the candidates of tune's choice.

    tuned_runs: the runs that have a table of candidates; one candidate alone is not drawn.

    Raises:
        UserError: a table is missing.
    """
    for run in runs:
        if curve := load_training_curve(results / "training" / f"{run}.tsv"):
            draw_training_curve(figures / "training" / f"{run}.svg", curve)
    for run in tuned_runs:
        candidates = load_tuning_results(results / "tuning" / f"{run}.tsv")
        if len(candidates.scores) > 1:
            draw_tuning(figures / "tuning" / f"{run}.svg", candidates)


def draw_study_figures(results: Path, figures: Path, studies: dict[str, list[str]]) -> None:
    """The overlaid training curves of each study's runs; runs without epochs are left out.

    Raises:
        UserError: a table is missing.
    """
    for study, runs in studies.items():
        curves = {run: load_training_curve(results / "training" / f"{run}.tsv") for run in runs}
        if curves := {run: curve for run, curve in curves.items() if curve}:
            draw_study(figures / "studies" / f"{study}.svg", curves)


def draw_network_figures(
    results: Path, figures: Path, backbones: list[str], networks: list[str], trained: list[str]
) -> None:
    """The first-layer filters of networks that have some, and the recorded output distributions.

    networks: the runs of train_scratch, which may have records. trained: those and the runs of
    finetune, which have filters, as the `backbones` have before any training.

    Raises:
        UserError: a file is missing.
    """
    for kind, names in (("backbones", backbones), ("runs", trained)):
        for name in names:
            filters = load_filters(results / "filters" / kind / f"{name}.npy")
            if len(filters):
                draw_filters(figures / "filters" / kind / f"{name}.svg", filters)
    for network in networks:
        if statistics := load_output_statistics(results / "outputs" / f"{network}.tsv"):
            draw_outputs(figures / "outputs" / f"{network}.svg", statistics)


def draw_sheets(results: Path, figures: Path) -> None:
    """The sheets of images that the stage `sheets` collected."""
    for path in sorted((results / "sheets").glob("*.h5")):
        draw_sheet(figures / "sheets" / f"{path.stem}.png", load_sheet(path))


def draw_evaluation_figures(
    results: Path, figures: Path, metrics: Results, confidence: float
) -> None:
    """The reliability diagram of each run, and its accuracy by crops if it predicts several views.

    metrics: of the runs. confidence: of the intervals.

    Raises:
        UserError: a table is missing.
    """
    for run, measured in metrics.items():
        val = measured["val"]
        stages = load_reliability_bins(results / "reliability" / f"{run}.tsv")
        protocol = PROTOCOLS[primary_protocol(val)]
        draw_reliability(figures / "reliability" / f"{run}.svg", stages, protocol, confidence)
        crops = results / "evaluation" / run / "crops.tsv"
        if crops.exists():
            accuracies = load_crop_accuracies(crops)
            path = figures / "crops" / f"{run}.svg"
            draw_crop_accuracies(path, accuracies, val["whole"]["top1"], val["n"])


def draw_ensemble_figures(
    results: Path, figures: Path, ensembles: list[str], choose_by: str
) -> None:
    """How good each of `ensembles` is by its size, if tune chose among its members, by `choose_by`.

    Raises:
        UserError: a table is missing.
    """
    for name in ensembles:
        if curve := load_ensemble_curve(results / "ensembles" / f"{name}.tsv"):
            path = figures / "ensembles" / f"{name}.svg"
            draw_ensemble_curve(path, curve, CRITERIA[choose_by].title)


def draw_tsne_figures(results: Path, figures: Path, backbones: list[str]) -> None:
    """The t-SNE embedding of each of `backbones`.

    Raises:
        UserError: a table is missing.
    """
    for backbone in backbones:
        embedding = load_embedding(results / "tsne" / f"{backbone}.tsv")
        draw_tsne(figures / "tsne" / f"{backbone}.svg", embedding)
