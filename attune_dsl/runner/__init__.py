"""Interprets a run: stages, attempts, progress, nested workflows, and runs side by side."""
