"""Everything that needs a card, in one command for a bare machine: ``make card``; what it needs: ``make card-kit``."""
