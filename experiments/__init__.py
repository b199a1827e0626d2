"""Training and evaluation runs: configuration, tracking, pictures, benchmarks."""
