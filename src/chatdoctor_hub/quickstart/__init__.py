"""The quickstart: from a disease table to a safe chat model in one command, offline, on a CPU."""

from chatdoctor_hub.quickstart.job import quickstart
from chatdoctor_hub.quickstart.settings import QuickstartSettings

__all__ = ["QuickstartSettings", "quickstart"]
