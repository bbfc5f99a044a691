"""Measurements: what compression costs and saves, beside what people would use instead."""
