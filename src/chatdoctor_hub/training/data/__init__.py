"""Dialogues as token ids: read, checked for safety wording, encoded with exact masks, and kept on the disk."""

from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.data.encoded_data import EncodedData, encode_data
from chatdoctor_hub.training.data.encoding import Encoding, encode, encode_dialogue, encode_text
from chatdoctor_hub.training.data.masks import check_masks
from chatdoctor_hub.training.data.preview import preview
from chatdoctor_hub.training.data.report import DataReport
from chatdoctor_hub.training.data.samples import Samples

__all__ = [
    "DataReport",
    "Encoded",
    "EncodedData",
    "Encoding",
    "Samples",
    "check_masks",
    "encode",
    "encode_data",
    "encode_dialogue",
    "encode_text",
    "preview",
]
