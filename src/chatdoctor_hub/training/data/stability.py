"""`Stability`: whether a chat template keeps what it wrote before as a dialogue goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data.tokenizing import Fast

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Stability"]

_SYSTEM = (Turn("system", "chatdoctor-probe-words"),)
_TURNS = (
    Turn("patient", "First probe."),
    Turn("doctor", "First reply."),
    Turn("patient", "Second probe."),
    Turn("doctor", "Second reply."),
    Turn("patient", "Third probe."),
    Turn("doctor", "Third reply."),
)


class Stability:
    """Probes a template: the text of the first turns must be how the text of more turns begins.

    A template that drops earlier thoughts, marks the last answer, or writes the system words before the last
    question gives a doctor's earlier turns other words in front of them than the model will see when it is
    served. What is learned from the last turn alone is not touched by that.

    Args:
        pair: whose training form is rendered.
        tokenizer: whose chat template to use, if it has one.
    """

    def __init__(self, pair: PromptPair, tokenizer: PreTrainedTokenizerBase) -> None:
        self._pair = pair
        self._tokenizer = tokenizer
        self._fast = Fast(tokenizer)
        self._found: dict[bool, bool] = {}

    def require(self, dialogue: Dialogue) -> None:
        """Make sure that every doctor's turn of a dialogue can be learned from.

        Raises:
            ModelFormatError: when the template is not stable for dialogues like this one.
        """
        told = dialogue.turns[0].role == "system"
        if told not in self._found:
            self._found[told] = self._is_stable(_SYSTEM if told else ())
        if not self._found[told]:
            raise ModelFormatError(
                "Expected a chat template that keeps the turns before as a dialogue goes on, found one that "
                "writes them anew, so that earlier doctor's turns would be learned after other words than "
                "they are served after; set training.loss_on to 'last', or give the tokenizer a chat template "
                "named 'training' that does not."
            )

    def _is_stable(self, system: tuple[Turn, ...]) -> bool:
        whole, stops = self._learned(system, len(_TURNS))
        for number, stop in enumerate(stops[:-1], 1):
            part, ends = self._learned(system, 2 * number)
            # What follows the end of the last turn may differ: some templates close a text there.
            if ends[-1] != stop or part[: stop + 1] != whole[: stop + 1]:
                return False
        return True

    def _learned(self, system: tuple[Turn, ...], turns: int) -> tuple[list[int], list[int]]:
        """The ids of the first turns, and where each of the doctor's ends in them."""
        text, spans = self._pair.render_training(Dialogue(system + _TURNS[:turns]), self._tokenizer)
        tokens = self._fast.tokens([text])[0]
        return tokens.ids, [stop for _, stop in self._fast.turns(tokens, spans)]
