"""Optimizers by hand (lesson 10) and in a fair race on real data (lesson 11)."""
