"""Model packages (ONNX and card) and their runtime."""
