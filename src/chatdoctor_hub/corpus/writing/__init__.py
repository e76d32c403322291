"""Dialogues written from a disease table, and the general and safety turns of a small base model."""
