"""``python -m glancearchive``."""

from glancearchive.cli import main

main()
