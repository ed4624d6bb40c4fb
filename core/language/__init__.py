"""The language of rules: the vocabulary, a tracer that reads a rule's two functions, and the passes
that its graph is cut into."""
