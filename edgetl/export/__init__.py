"""From a trained network to ONNX, and the proof that both compute the same."""
