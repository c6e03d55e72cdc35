"""Minutes of training on a card: what is carried there, the run, and what comes back."""
