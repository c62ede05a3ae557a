"""A comparison of event stream servers: in turn, repeated, in one run."""
