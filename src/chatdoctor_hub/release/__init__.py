"""Release: manifest, model card, figures, checks, and the folder that can be pushed."""

from chatdoctor_hub.release.card import check_card, render_card
from chatdoctor_hub.release.checks import check_folder, public_obstacles
from chatdoctor_hub.release.manifest import Manifest, load_manifest
from chatdoctor_hub.release.places import base_here
from chatdoctor_hub.release.prepare import ReleaseFolder, prepare_release
from chatdoctor_hub.release.sections import read_corpus_file

__all__ = [
    "Manifest",
    "ReleaseFolder",
    "base_here",
    "check_card",
    "check_folder",
    "load_manifest",
    "prepare_release",
    "public_obstacles",
    "read_corpus_file",
    "render_card",
]
