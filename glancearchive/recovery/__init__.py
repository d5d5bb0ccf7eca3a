"""Recovery data: PAR2 files beside an archive, from which any PAR2 tool puts damaged and lost volumes right.

What is in them is read here; a PAR2 program computes them, and what they restore. Parity Volume Set Specification 2.0:
https://parchive.sourceforge.net/docs/specifications/parity-volume-spec/article-spec.html
"""
