"""Training: what clips are made of, recipes, and a run that reads top to bottom. Knows no filters."""

import vs_sr.runtime  # noqa: F401 - loads torch, before the modules that import it plainly
