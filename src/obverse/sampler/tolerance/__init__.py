"""Steps chosen by a tolerance, for every sample on its own."""
