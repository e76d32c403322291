"""What people wrote or put on the Hub themselves is not undone, and not passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_in_hub import StandInHub

from chatdoctor_hub.errors import PublishError
from chatdoctor_hub.hub import plan, publish, verify

WORDS = b"\n## From our clinic\n\nCall us first.\n"


@pytest.fixture
def me(hub: StandInHub) -> dict[str, str]:
    return {"endpoint": hub.url, "token": hub.token("me")}


def push(me: dict[str, str], **files: bytes) -> None:
    """As somebody does on the website."""
    from huggingface_hub import HfApi

    for name, data in files.items():
        HfApi(**me).upload_file(path_or_fileobj=data, path_in_repo=name, repo_id="me/tiny")


def concerns(folder: Path, me: dict[str, str], **settings: object) -> dict[tuple[str, str], str]:
    found = plan(folder, "me/tiny", **me, **settings)  # type: ignore[arg-type]
    return {(one.kind, one.where): one.weight for one in found.concerns}


def test_words_and_templates_of_the_website_are_not_overwritten(
    hub: StandInHub, me: dict[str, str], slim: Path
) -> None:
    publish(slim, "me/tiny", **me)
    card = (slim / "README.md").read_bytes() + WORDS
    push(me, **{"README.md": card, "chat_template.jinja": b"{{ messages }}"})
    head = hub.repo("me/tiny").head
    with pytest.raises(PublishError, match=r"accept: remote-edits") as told:
        publish(slim, "me/tiny", **me)
    assert "README.md: was changed on the Hub" in str(told.value)
    assert "chat_template.jinja: was changed on the Hub" in str(told.value)
    assert hub.repo("me/tiny").head == head

    done = publish(slim, "me/tiny", accept=["remote-edits"], **me)
    assert hub.repo("me/tiny").files(done.commit)["README.md"] == (slim / "README.md").read_bytes()


def test_what_was_taken_over_is_no_edit(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    publish(slim, "me/tiny", **me)
    card = (slim / "README.md").read_bytes() + WORDS
    push(me, **{"README.md": card})
    (slim / "README.md").write_bytes(card)
    assert not publish(slim, "me/tiny", **me).changed
    (slim / "NOTICE").write_text("new")
    assert publish(slim, "me/tiny", **me).changed
    (slim / "README.md").write_bytes(card + b"\nAnd then the others.\n")
    assert publish(slim, "me/tiny", **me).changed, "what was there is ours again"


def test_edits_of_ones_own_folder_are_none(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    publish(slim, "me/tiny", public=True, **me)
    (slim / "README.md").write_bytes((slim / "README.md").read_bytes() + WORDS)
    publish(slim, "me/tiny", pr=True, merge=True, **me)
    (slim / "README.md").write_bytes((slim / "README.md").read_bytes() + WORDS)
    assert publish(slim, "me/tiny", public=True, **me).changed


def test_what_somebody_removed_does_not_come_back_unsaid(
    hub: StandInHub, me: dict[str, str], slim: Path
) -> None:
    from huggingface_hub import HfApi

    (slim / "NOTICE").write_text("old")
    publish(slim, "me/tiny", **me)
    HfApi(**me).delete_file("NOTICE", repo_id="me/tiny")
    with pytest.raises(PublishError, match="NOTICE: was removed on the Hub"):
        publish(slim, "me/tiny", **me)


def test_a_card_in_a_repository_that_holds_nothing_else(
    hub: StandInHub, me: dict[str, str], slim: Path
) -> None:
    from huggingface_hub import HfApi

    HfApi(**me).create_repo("me/tiny", private=True)
    push(me, **{"README.md": WORDS})
    with pytest.raises(PublishError, match=r"README\.md: was changed on the Hub"):
        publish(slim, "me/tiny", **me)


def test_what_stays_on_the_hub_is_told(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    (slim / "LICENSE").write_text("mine")
    publish(slim, "me/tiny", **me)
    (slim / "LICENSE").unlink()
    found = plan(slim, "me/tiny", **me)
    assert not found.is_changed
    (told,) = (one for one in found.concerns if one.kind == "staying")
    assert told.weight == "note"
    assert "LICENSE; delete there" in told.what
    assert publish(slim, "me/tiny", public=True, **me).public


def test_a_strange_file_is_not_shown_to_everybody_unsaid(
    hub: StandInHub, me: dict[str, str], slim: Path
) -> None:
    publish(slim, "me/tiny", **me)
    push(me, **{"extra.csv": b"name,phone\n"})
    assert verify("me/tiny", **me).strangers == ("extra.csv",)
    assert publish(slim, "me/tiny", **me).verified.strangers == ("extra.csv",)
    with pytest.raises(PublishError, match=r"extra\.csv; delete there.*accept: staying"):
        publish(slim, "me/tiny", public=True, **me)
    assert hub.repo("me/tiny").private
    assert publish(slim, "me/tiny", public=True, accept=["staying"], **me).public


def test_a_pickle_on_the_hub_is_not_verified(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    publish(slim, "me/tiny", **me)
    push(me, **{"pytorch_model.bin": b"x"})
    with pytest.raises(PublishError, match=r"me/tiny@main: expected no pickles.*pytorch_model\.bin"):
        verify("me/tiny", **me)
    assert concerns(slim, me)[("pickles", "pytorch_model.bin")] == "refused"
    with pytest.raises(PublishError, match=r"pytorch_model\.bin: is on the Hub"):
        publish(slim, "me/tiny", **me)


def test_a_data_set(hub: StandInHub, me: dict[str, str], corpus: Path) -> None:
    from huggingface_hub import HfApi

    publish(corpus, "me/talks", **me)
    card = (corpus / "README.md").read_bytes()
    there = {"repo_id": "me/talks", "repo_type": "dataset", "path_in_repo": "README.md"}
    HfApi(**me).upload_file(path_or_fileobj=card + WORDS, **there)
    with pytest.raises(PublishError, match=r"README\.md: was changed on the Hub"):
        publish(corpus, "me/talks", **me)
    done = publish(corpus, "me/talks", accept=["remote-edits"], **me)
    repo = hub.repo("me/talks", "dataset")
    assert (repo.files(done.commit)["README.md"], list(repo.branches)) == (card, ["main"])
    assert (done.verified.answered, done.verified.why_not) == (False, "")
