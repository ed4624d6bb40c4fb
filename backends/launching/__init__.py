"""The surroundings of a compiled kernel: launch tables, threads, a cache of printed source."""
