"""From a rule to source text: a printer for each target, and files to embed in other programs."""
