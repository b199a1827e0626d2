"""Drivers for other programs: donkeycar, LiteRT, ONNX, Keras."""
