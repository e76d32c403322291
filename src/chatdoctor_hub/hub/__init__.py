"""Hub: what a publish would do, the publish, its verification, and the way back to a folder."""

from chatdoctor_hub.hub.concerns import Concern
from chatdoctor_hub.hub.contents import Contents, LocalFile, RepoType
from chatdoctor_hub.hub.fetching import fetch
from chatdoctor_hub.hub.planning import PlannedFile, PublishPlan, plan
from chatdoctor_hub.hub.publishing import PublishedRelease, publish
from chatdoctor_hub.hub.settings import Settings
from chatdoctor_hub.hub.verifying import VerifyReport, verify

__all__ = [
    "Concern",
    "Contents",
    "LocalFile",
    "PlannedFile",
    "PublishPlan",
    "PublishedRelease",
    "RepoType",
    "Settings",
    "VerifyReport",
    "fetch",
    "plan",
    "publish",
    "verify",
]
