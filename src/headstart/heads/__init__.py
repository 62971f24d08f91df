"""Heads: classifiers on extracted features, which return one score per class.

`fitting` fits a head from a recipe, an entry of `heads` in params.yaml, with one of the kinds of
heads in the other modules. Every fitted head is a `fitted_head.FittedHead`, which can be applied
with numpy alone.
"""
