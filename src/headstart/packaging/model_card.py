"""The model card: what people should know before they use a model (Mitchell et al., 2019)."""

from headstart.config import Backbone
from headstart.packaging.licenses import DATA, UNKNOWN_DATA, weights_license
from headstart.packaging.model_description import (
    HeadMember,
    ModelDescription,
    NetworkMember,
)

CARD_FILE = "README.md"

SHOWN_CLASSES = 50

CLASSIFY_COMMAND = "headstart classify FOLDER_OF_THIS_FILE NEW_IMAGES -o answers.tsv"

CLASS_AVERAGES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "auroc": "AUROC (one against rest)",
}
"""Metrics in which every class has the same weight, by their names in metrics.json."""

VIEWS = {"whole": "one view of each image", "ten_crop": "ten crops of each image, averaged"}


def model_card(model: ModelDescription) -> str:
    """Returns the card of a packaged model as Markdown."""
    found = model.evaluation
    top1, nll, ece = (found[name] for name in ("top1", "nll", "ece"))
    low, high = found["top1_interval"]
    averages = ", ".join(
        f"{title} {found[name]:.1%} [{found[f'{name}_interval'][0]:.1%}, "
        f"{found[f'{name}_interval'][1]:.1%}]"
        for name, title in CLASS_AVERAGES.items()
    )
    names = [label.name for label in model.classes[:SHOWN_CLASSES]]
    more = len(model.classes) - len(names)
    listed = ", ".join(names) + (f", and {more} more (model.json)" if more else "")
    counts = ", ".join(f"{count:,} {split}" for split, count in model.images.items())
    data = model.params["dataset"]
    sets = model.conformal
    commit = f"commit {model.commit}" if model.commit else "without git"
    edited = ", with uncommitted changes" if model.uncommitted_changes else ""
    versions = ", ".join(f"{name} {number}" for name, number in model.versions.items())
    return f"""# {model.name}

Classifies an image as one of {len(model.classes)} classes: {listed}.

## Accuracy

Top-1 {top1:.1%} [{low:.1%}, {high:.1%}] on n = {found["n"]:,} images of `val`,
{VIEWS[model.protocol]}. With the same weight for every class: {averages}.
Intervals are a bootstrap's, at {found["confidence"]:.0%}.
Before temperature scaling the negative log-likelihood is {nll:.3f} and the expected calibration
error {ece:.3f}. Nothing was trained or chosen on `val`.

Probabilities are scaled by the temperature {model.temperature:g}, fitted on `tune`. The candidates
of an image, its conformal set, include the true class with probability {sets.coverage:.0%} or more,
if new images are like those of `tune`.

## Data

Dataset `{data["name"]}`: {counts}. `train` was learned from; every choice was made on `tune`.

## Use

```bash
{CLASSIFY_COMMAND}
```

Intended: images of the classes above, taken as the dataset's were. Images are
{_fit(model)}, in RGB.

Not intended:

- images of other classes: the model has no answer "none of these", and gives one of its classes
  with whatever probability;
- images that were taken or processed otherwise than the dataset's: neither the accuracy above nor
  the coverage of the candidates holds for them;
- decisions about people, or any that can't bear an error in {1 - low:.0%} of the cases.

## How it was made

{_members(model)}

{versions}; {commit}{edited}. `model.json` holds the settings.

## License

Data: {DATA.get(data["name"], UNKNOWN_DATA)}.
{_licenses(model)}"""


def _fit(model: ModelDescription) -> str:
    side = f"{model.image.side} x {model.image.side} px"
    if model.image.fit == "crop":
        return f"cut to their central square and scaled to {side}"
    return f"stretched to {side}"


def _members(model: ModelDescription) -> str:
    if len(model.members) > 1:
        start = f"The {model.average} of {len(model.members)} models are averaged:"
        return "\n".join([start, "", *(f"- `{m.name}`: {_origin(m)}" for m in model.members)])
    return f"It is {_origin(model.members[0])}."


def _origin(member: HeadMember | NetworkMember) -> str:
    if isinstance(member, HeadMember):
        parts = [
            f"{backbone.entry['architecture']} (weights: {backbone.entry['weights']}, digest "
            f"{backbone.weights[:12]})"
            for backbone in member.backbones.values()
        ]
        return (
            f"a head on the features of {' and '.join(parts)}, whose weights are not in this folder"
        )
    if "finetune" in member.identity:
        return f"a fine-tuned {member.identity['backbone']['architecture']}"
    network = member.identity["scratch"]
    return f"a {network['arguments'].get('architecture', network['network'])} trained end to end"


def _licenses(model: ModelDescription) -> str:
    entries = {
        alias: entry
        for choices in model.params["members"].values()
        for alias, entry in choices.get("zoo", {}).items()
    }
    for member in model.members:
        if isinstance(member, HeadMember):
            entries |= {alias: backbone.entry for alias, backbone in member.backbones.items()}
    lines = [
        f"Pretrained weights of `{alias}`: {weights_license(Backbone.model_validate(entry))}.\n"
        for alias, entry in sorted(entries.items())
        if "concatenate" not in entry
    ]
    return "".join(lines)
