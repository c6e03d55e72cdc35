"""Weights files: the index of those that are shipped, reading, verifying, recognizing and converting."""
