"""Classifies image files with this model: python example.py IMAGE ..."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

folder = Path(__file__).parent
model = json.loads((folder / "export.json").read_text(encoding="utf-8"))
side = model["resize"]["side"]
session = onnxruntime.InferenceSession(folder / model["file"])
for path in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if model["resize"]["fit"] == "crop":  # the central square; otherwise all of the image
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        image = image.crop((left, top, left + short, top + short))
    square = image.resize((side, side), Image.Resampling.BILINEAR)
    pixels = np.asarray(square)[None]  # [N, S, S, 3] uint8
    outputs = session.run(["probabilities"], {"pixels": pixels})
    probabilities = np.asarray(outputs[0])[0]
    best = int(probabilities.argmax())
    print(f"{path}\t{model['classes'][best]['id']}\t{probabilities[best]:.4f}")
