"""Measurements of speed and memory: ratios to named baselines, measured in alternating rounds.

No test asserts them.
"""
