"""Frozen pretrained networks turn images into cached features; every question after that is cheap."""
