"""Can this bundle be trusted? Compared with its checkpoint, with FP32, and on labelled clips."""
