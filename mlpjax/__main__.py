"""`python -m mlpjax`, the same as the command `mlpjax`."""

from mlpjax.cli import main

if __name__ == "__main__":
    main()
