"""Measurements: ratios against named baselines in one alternating run. Never asserted in a test."""
