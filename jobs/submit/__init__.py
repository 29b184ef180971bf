"""Runs and trainings on a cluster: handed in, looked after, ended. What a run is doing: jobs/status.py."""
