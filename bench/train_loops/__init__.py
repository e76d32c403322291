"""The loops that `bench/train.py` compares, each run in a process of its own."""
