"""Training: scenes made by a program and scripts that read top to bottom. Knows no filters."""

import vs_sr.runtime  # noqa: F401 - loads torch, before the modules that import it plainly
