"""Requests of every kind through the whole proxy, with the real LiteLLM, to a mock provider.

One daemon serves the package, which one process runs (`tests/conftest.py`): LiteLLM takes seconds
to start. What a request is asked to come to is worked out from what it is, in `expected`, and never
copied from an answer.

    pairwise    few rows with every pair of values
    rows        what a row of the matrix is, and the requests that it makes
    expected    what has to come of a row
    house       the daemon's config
    answers     requests sent, answers kept as they came
"""
