"""Computes where each run looked at the images that it gets wrong, if report.attribution is on."""

import argparse

from headstart.config import Params
from stages import parser, run


def attribution(args: argparse.Namespace, params: Params) -> str:
    args.attribution.mkdir(parents=True, exist_ok=True)
    if not params.report.attribution:
        return "report.attribution is off"

    import numpy as np

    from headstart.attribution import NotAvailableError, activation_maps, load_linear_classifier
    from headstart.core.devices import resolve_device
    from headstart.store.attributions import Attribution, write_attribution
    from headstart.store.images import open_images
    from headstart.store.top_classes import load_top_classes

    device = resolve_device(params.extract.device)
    told = []
    with open_images(args.images) as images:
        row = {id_: i for i, id_ in enumerate(images.examples.ids)}
        position = {label.id: i for i, label in enumerate(images.examples.classes)}
        for name in params.single_runs:
            top = load_top_classes(args.top / f"{name}.tsv")
            wrong = np.flatnonzero(top.classes[:, 0] != np.array(top.labels))
            # The most confident first, as the page shows them.
            order = np.argsort(-top.probabilities[wrong, 0], kind="stable")
            shown = np.sort(wrong[order[: params.report.max_images]])
            ids = [top.ids[i] for i in shown]
            pairs = [[position[top.classes[i, 0]], position[top.labels[i]]] for i in shown]
            try:
                model = load_linear_classifier(args.trained / name, params.single_backbones)
                if not ids:
                    raise NotAvailableError("it makes no mistake")
                pixels = images.pixels[[row[id_] for id_ in ids]]
                maps = activation_maps(model, pixels, np.array(pairs), device)
                made = Attribution("", ids, maps, model.crop)
            except NotAvailableError as error:
                made = Attribution.none(str(error))
            write_attribution(args.attribution / f"{name}.h5", made)
            told.append(f"{name}: {made.unavailable or f'{len(ids)} images'}")
    return "\n".join(told)


if __name__ == "__main__":
    run(attribution, parser(__doc__, "images", "trained", "top", "attribution"))
