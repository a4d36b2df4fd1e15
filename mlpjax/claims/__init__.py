"""The experiments' contract: a claim and its verdict, the run that writes results.json, and the ledger."""

from mlpjax.claims.needs import MNIST, Needs
from mlpjax.claims.runner import run_experiment
from mlpjax.claims.verdict import Claim, published_rate

__all__ = ["MNIST", "Claim", "Needs", "published_rate", "run_experiment"]
