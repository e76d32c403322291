"""The sides that `bench/chat.py` compares, and what they talk to."""
