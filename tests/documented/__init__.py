"""The code in the documentation, which is run here as its readers run it."""
