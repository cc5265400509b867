"""Image sets: readers, safe decoding, the condition schema, holdout roles, overlap, the phantom set."""
