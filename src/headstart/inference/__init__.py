"""New images through a model folder: classes, calibrated probabilities, candidates."""
