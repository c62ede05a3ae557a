"""Very many clients at little cost: a C program, and code to build and control it."""
