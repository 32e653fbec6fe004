"""What people run without us, on the same weights, as subjects of the benchmark."""
