"""`python -m mlpjax.claims [RESULTS_DIR]` writes the ledger beside the results (default: experiments/results)."""

import tyro

from mlpjax.claims.ledger import main

tyro.cli(main)
