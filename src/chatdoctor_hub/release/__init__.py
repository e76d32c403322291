"""Release: manifest, model card, figures, and the folder that can be pushed."""

from chatdoctor_hub.release.card import render_card
from chatdoctor_hub.release.manifest import Manifest, load_manifest
from chatdoctor_hub.release.prepare import ReleaseFolder, prepare_release

__all__ = ["Manifest", "ReleaseFolder", "load_manifest", "prepare_release", "render_card"]
