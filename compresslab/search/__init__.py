"""Search for good settings: grid, random, cross-validation (lesson 20), halving, Hyperband, Optuna (lesson 21)."""
