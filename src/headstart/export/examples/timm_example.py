"""Classifies image files with this model: python example.py IMAGE ..."""

import json
import sys
from pathlib import Path

import timm
import torch
from PIL import Image, ImageOps
from timm.data import create_transform, resolve_model_data_config

folder = Path(__file__).parent
model = json.loads((folder / "export.json").read_text(encoding="utf-8"))
network = timm.create_model(f"local-dir:{folder.resolve()}", pretrained=True).eval()
config = resolve_model_data_config(network)
transform = create_transform(**config, is_training=False)
for path in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    with torch.inference_mode():
        logits = network(transform(image)[None])
    probabilities = (logits / model["temperature"]).softmax(1)[0]
    best = int(probabilities.argmax())
    print(f"{path}\t{model['classes'][best]['id']}\t{probabilities[best]:.4f}")
