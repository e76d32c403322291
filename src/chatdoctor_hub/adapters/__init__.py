"""Series and parallel bottleneck adapters as methods of PEFT (arXiv 2304.01933, 1902.00751, 2110.04366).

Importing this room makes them known to PEFT and transformers: `get_peft_model`, `PeftModel.from_pretrained`
and a model's own `load_adapter` work with them from then on. It needs the extra `local`.
"""

from __future__ import annotations

from chatdoctor_hub.adapters.config import ParallelConfig, SeriesConfig
from chatdoctor_hub.adapters.lora_export import export_lora
from chatdoctor_hub.adapters.models import register

__all__ = ["ParallelConfig", "SeriesConfig", "export_lora"]

register()
