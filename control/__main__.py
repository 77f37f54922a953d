"""`python -m control` is `homeagent`."""

from control.cli import main

main()
