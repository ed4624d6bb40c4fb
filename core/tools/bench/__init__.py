"""Time and memory of a step, beside other libraries."""
