"""Very many clients at little cost: a program in C, and what builds and leads it."""
