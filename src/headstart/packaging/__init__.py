"""Model folders: a trained run with everything that its predictions need, to be carried away."""
