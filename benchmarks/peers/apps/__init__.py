"""Minimal apps for the other servers, written as their documentation says."""
