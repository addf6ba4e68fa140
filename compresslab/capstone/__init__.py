"""The capstone (lesson 90): a budget, a board of attempts from all families, a certificate, a submission, its grading.

This is the roof: it stands on all families, and nothing stands on it.
"""
