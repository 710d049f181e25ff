"""The ground floor: shapes, errors, named families, numerics and keyed noise."""
