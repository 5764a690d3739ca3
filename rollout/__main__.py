"""`python -m rollout` is the command line."""

from rollout.cli import main

if __name__ == "__main__":
    main()
