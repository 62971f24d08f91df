"""The library for notebooks and scripts: images to features, features to classifiers.

It calls the functions that the pipeline's stages call, without DVC, HDF5 files or params.yaml.
"""
