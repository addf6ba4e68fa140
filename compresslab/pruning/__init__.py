"""Pruning: weights set to zero (lesson 30), structures cut out (lesson 31): criterion, granularity, scope, schedule."""
