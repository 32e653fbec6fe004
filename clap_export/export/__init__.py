"""From a loaded checkpoint to a bundle. Knows no model family."""
