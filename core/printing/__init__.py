"""Source text of a rule: a printer with a target for each language, and files to embed in other
programs."""
