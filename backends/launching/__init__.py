"""What compiled backends need around a kernel: launch tables, threads, a cache of printed source."""
