"""Compress your own model: `compresslab.report` measures a model that it has never seen, and proposes what to do."""
