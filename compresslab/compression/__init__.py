"""Compression: distillation (lesson 50), shared weights, entropy coding and a file that decodes (lesson 51)."""
