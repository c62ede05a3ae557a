"""Tests that run the code in the documentation as readers do."""
