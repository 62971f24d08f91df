"""Classification metrics, calibration and significance tests; numpy and scipy only."""
