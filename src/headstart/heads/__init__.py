"""Heads: from features to a score for every class.

`head` is what all of them become, and all that applying one takes (numpy alone). `fit` makes one
from a recipe, a section of params.yaml; each other file here is one way to do so.
"""
