"""Measurement: reference resampling, metrics and the space-time protocol. Knows no filters."""
