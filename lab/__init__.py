"""The article's picture as containers: for the demo, the tests and the benchmarks.

``python -m lab --help`` drives it by hand; ``lab.lab.Lab`` from Python.
"""
