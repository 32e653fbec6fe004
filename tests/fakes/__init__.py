"""Stand-ins for a GPU, its driver and TensorRT, which keep the real ones' promises."""
