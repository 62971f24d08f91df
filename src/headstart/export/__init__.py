"""Models for other programs: ONNX, OpenVINO and timm, with what a server or a reader needs."""
