"""Quantization: numbers in few bits (lesson 40), quantised models (lesson 41), 4 bits and fewer (lesson 42)."""
