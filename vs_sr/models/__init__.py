"""The architectures: a folder each, with ``network`` (torch) apart from ``detect`` and ``build`` (no torch)."""
