"""Projects the features of chosen classes into the plane, with t-SNE."""

import argparse

from headstart.config import Params
from stages import parser, run


def tsne(args: argparse.Namespace, params: Params) -> str:
    from headstart.evaluation.tsne_embedding import project_features
    from headstart.store.embeddings import write_embedding
    from headstart.store.features import load_features

    settings = params.tsne
    splits = [load_features(args.features / f"{split}.h5") for split in settings.splits]
    embedding = project_features(
        splits, settings.classes, settings.images_per_class, settings.perplexity, settings.seed
    )
    write_embedding(args.results / "tsne" / f"{args.features.name}.tsv", embedding)
    classes = len(set(embedding.labels))
    return f"projected {len(embedding.ids)} {'+'.join(settings.splits)} images of {classes} classes"


if __name__ == "__main__":
    run(tsne, parser(__doc__, "features", "results"))
