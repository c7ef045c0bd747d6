"""Benchmarks, each against a floor that it measures in the same run: ``python -m tests.benchmarks``."""
