"""Simulated surveys in their own file formats: one file each, and what they share.

`driver.py` is the straight line, `stars.py` who is seen, `window.py` above what is seen of them.
"""
