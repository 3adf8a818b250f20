"""Deploying: candidates, their evaluation, the choice, the bundle."""
