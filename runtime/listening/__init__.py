"""Sound without an end: segments as it comes, events of segments, and what waits for them."""
