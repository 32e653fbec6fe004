"""A bundle as an HTTP service: batches across requests, bounded whatever is sent."""
