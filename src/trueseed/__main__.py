"""`python -m trueseed`."""

from trueseed.cli import main

main()
