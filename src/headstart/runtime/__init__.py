"""Runtimes: a backbone on a CPU or a GPU, in float32, bfloat16 or int8."""
