"""What ``listen`` hears, and where it tells of it: one file a kind of input or output."""
