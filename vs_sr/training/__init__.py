"""Training: scenes made by a program and scripts that read top to bottom. Knows no filters."""
