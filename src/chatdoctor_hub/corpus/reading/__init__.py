"""Dialogues from the files in which they circulate, each repair and each loss counted."""
