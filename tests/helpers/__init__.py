"""What several test modules need. Test modules import from here, never from each other."""
