"""Train many multilayer perceptrons at once, and settle what lectures claim about them."""

from importlib import import_module
from typing import TYPE_CHECKING

_ESTIMATORS = ("SeedsClassifier", "SeedsRegressor")
"""Of `estimators.py`, whose scikit-learn is an extra: imported only by name."""

if TYPE_CHECKING:
    from mlpjax.estimators import SeedsClassifier as SeedsClassifier
    from mlpjax.estimators import SeedsRegressor as SeedsRegressor
    from mlpjax.public import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        """A public name, as `public.py` lists them; they come with JAX, for which `mlpjax --help` need not wait."""
        if name in _ESTIMATORS:
            return getattr(import_module("mlpjax.estimators"), name)
        if "__all__" in globals() or (name.startswith("_") and name != "__all__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        public = import_module("mlpjax.public")
        globals().update({known: getattr(public, known) for known in ("__all__", *public.__all__)})
        return getattr(import_module(__name__), name)

    def __dir__() -> list[str]:
        return sorted({*import_module("mlpjax.public").__all__, *_ESTIMATORS, *globals()})
