"""Servers of event streams beside each other: in turn, repeated, in one run."""
