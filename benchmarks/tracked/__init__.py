"""A small app for bench_seal.py: one row with a state, tracked by nobody and by two libraries."""
