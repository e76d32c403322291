"""What a recipe would do, found out without doing it."""

from chatdoctor_hub.training.planning.footprint import budget_of, empty_model
from chatdoctor_hub.training.planning.lengths import histogram, share_if_padded
from chatdoctor_hub.training.planning.planner import plan
from chatdoctor_hub.training.planning.prepared import Prepared, prepare
from chatdoctor_hub.training.planning.smoke_run import SmokeReport, smoke
from chatdoctor_hub.training.planning.trials import Trial, device_of_runs, trial
from chatdoctor_hub.training.planning.tuning_plan import TuningPlan

__all__ = [
    "Prepared",
    "SmokeReport",
    "Trial",
    "TuningPlan",
    "budget_of",
    "device_of_runs",
    "empty_model",
    "histogram",
    "plan",
    "prepare",
    "share_if_padded",
    "smoke",
    "trial",
]
