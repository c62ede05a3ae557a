"""The documentation, and scripts that generate parts of it from the code."""
