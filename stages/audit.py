"""Looks for problems of the data itself: duplicates, wrong labels, outliers, unusable images."""

import argparse

from headstart.config import Params
from stages import parser, run


def audit(args: argparse.Namespace, params: Params) -> str:
    from collections import Counter

    from headstart.audit.audit import audit_dataset
    from headstart.audit.pool import load_pool, load_pool_images
    from headstart.store.audit_findings import write_findings

    pool = load_pool(args.features)
    images = load_pool_images(args.images, pool.examples.ids)
    found = audit_dataset(pool, images)
    write_findings(args.results / "audit" / f"{args.features.name}-findings.tsv", found.findings)
    counts = Counter(finding.problem for finding in found.findings)
    shown = ", ".join(f"{count} {problem}" for problem, count in counts.items()) or "no problem"
    return (
        f"{len(pool.splits)} images: {shown}; pairs with a cosine above "
        f"{found.duplicate_threshold:.2f} were compared"
    )


if __name__ == "__main__":
    run(audit, parser(__doc__, "images", "features", "results"))
