"""Frozen pretrained networks turn images into cached features; all later questions are cheap."""
