"""What is known of the licenses of weights and data."""

from headstart.config import Backbone

DATA = {
    "flowers": "TensorFlow's flower_photos: photographs of Flickr's users, CC-BY 2.0; name their "
    "photographers wherever you pass photographs on",
    "tiny_imagenet": "ImageNet's terms: non-commercial research and education only",
}
"""By reader of params.yaml's `dataset`."""

UNKNOWN_DATA = "not known here: ask who gave you the images, before you pass the model on"


def weights_license(backbone: Backbone) -> str:
    """Returns a phrase on the license of a backbone's pretrained weights."""
    match backbone.weights:
        case "none":
            return "random weights, no license needed"
        case "bundled":
            return "given away for research and education: trained on Tiny ImageNet"
        case "hub":
            # Imported here because it takes seconds, and other weights don't need it.
            from timm.models import get_pretrained_cfg

            known = get_pretrained_cfg(backbone.architecture)
            stated = known.license if known else None
            return stated or f"see https://huggingface.co/timm/{backbone.architecture}"
        case _:
            return "a file of your own: its license is known to you alone"
