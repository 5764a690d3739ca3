"""`python -m rollout` is the command line."""

from rollout.interfaces.cli import main

if __name__ == "__main__":
    main()
