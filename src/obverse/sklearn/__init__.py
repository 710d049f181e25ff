"""The scikit-learn face: a flow as a density estimator among others."""

from obverse.sklearn.estimator import FlowDensity

__all__ = ["FlowDensity"]
