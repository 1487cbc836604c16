"""Network definitions (PyTorch; needed for training and export only)."""
