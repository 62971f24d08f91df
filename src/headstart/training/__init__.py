"""Training whole networks: one loop for training from scratch and for fine-tuning."""
