// Naive twins, a gradient checker, a manual clock, an in-memory transport.
