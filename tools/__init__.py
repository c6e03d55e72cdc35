"""What builds files of the repository: stubs, tables, pages."""
