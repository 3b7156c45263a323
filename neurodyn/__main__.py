"""`python -m neurodyn` is `neurodyn`."""

from neurodyn.cli.app import main

main()
