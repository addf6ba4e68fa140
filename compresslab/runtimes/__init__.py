"""Runtimes: leave Python, run integer kernels and prove that they ran (lessons 41 and 61)."""
