"""Solvers: rules for a step, from which tables follow."""
