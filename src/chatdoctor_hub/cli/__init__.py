"""The command line: thin verbs over the Python API."""

from chatdoctor_hub.cli.app import app, main

__all__ = ["app", "main"]
