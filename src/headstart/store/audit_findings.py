"""What the audit found, as a table that people read and that `prepare.exclude` takes."""

from dataclasses import astuple, dataclass, fields
from pathlib import Path

from headstart.core.atomic_files import read_tsv, tsv_writer
from headstart.store.examples import Split

IDENTICAL = "identical"
NEAR_DUPLICATE = "near_duplicate"
WRONG_LABEL = "wrong_label"
OUTLIER = "outlier"
DARK = "dark"
FLAT = "flat"
TINY = "tiny"
ODD_SHAPE = "odd_shape"
CLASSES_ALIKE = "classes_alike"
CLASS_DIVIDED = "class_divided"
FEW_IMAGES = "few_images"


@dataclass(frozen=True)
class Finding:
    """A problem of one image, or of one class.

    id: of the image; empty for a class. split: of the image; empty for a class. class_id: of the
    image's label, or the class itself. problem: one of this module's constants. score: the higher,
    the worse; its scale depends on the problem (docs/audit.md). evidence: the id of the other
    image, the class that the image seems to be of, the other class, or empty. evidence_split,
    evidence_class: of that image, else empty.
    """

    id: str
    split: Split | str
    class_id: str
    problem: str
    score: float
    evidence: str = ""
    evidence_split: Split | str = ""
    evidence_class: str = ""


COLUMNS = [field.name for field in fields(Finding)]


def write_findings(path: Path, findings: list[Finding]) -> None:
    """One row per finding, with the fields of `Finding` as columns."""
    with tsv_writer(path) as table:
        table.writerow(COLUMNS)
        for finding in findings:
            *before, score, evidence, split, class_id = astuple(finding)
            table.writerow([*before, f"{score:.4f}", evidence, split, class_id])


def load_findings(path: Path) -> list[Finding]:
    """What `write_findings` wrote to `path`, scores to four digits.

    Raises:
        UserError: the file is missing.
    """
    return [
        Finding(**{**row, "score": float(row["score"])})  # pyright: ignore[reportArgumentType]
        for row in read_tsv(path)
    ]
