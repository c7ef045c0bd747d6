"""``python -m attune_dsl``."""

from attune_dsl.cli import main

if __name__ == "__main__":
    main()
