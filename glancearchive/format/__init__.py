"""The archive format of ``spec/SPEC.md``: reading, writing, verifying. Knows nothing of Glance."""
