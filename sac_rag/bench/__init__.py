"""Measurements: quality against bytes."""
