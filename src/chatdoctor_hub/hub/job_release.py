"""The settings of the release that a job makes, checked before it runs rather than after hours of tuning."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from chatdoctor_hub.errors import ConfigError, ReleaseFormatError
from chatdoctor_hub.hub.job_sources import Sources
from chatdoctor_hub.release import prepare_release
from chatdoctor_hub.release.licences import licence_faults, own_licence
from chatdoctor_hub.release.sections import describe_data

__all__ = ["check_settings", "settled"]


def check_settings(given: Mapping[str, Any]) -> None:
    """Refuse settings that `prepare_release` does not have, or not in a job.

    Args:
        given: by name.

    Raises:
        ConfigError: for these, and without a licence.
        ReleaseFormatError: for a licence that is not known.
    """
    parameters = inspect.signature(prepare_release).parameters.values()
    kinds = {one.name: type(one.default) for one in parameters if isinstance(one.default, (str, bool))}
    faults = [
        f"{name}: {kinds[name].__name__ if name in kinds else 'no setting of that name'}, found {value!r}"
        for name, value in given.items()
        if not isinstance(value, kinds.get(name, ()))
    ]
    if faults:
        raise ConfigError(
            f"Expected settings of a release ({', '.join(sorted(kinds))}), found {len(faults)} fault(s): "
            f"{'; '.join(faults)}.",
            faults,
        )
    if "license" not in given:
        raise ConfigError(
            "license: expected the licence of what the job publishes, found none; give it: --release "
            "license=apache-2.0, or license=other with --release license_name=…."
        )
    _own(given)


def settled(given: Mapping[str, Any], sources: Sources) -> dict[str, Any]:
    """The settings with the licence of the base, which a job can no longer ask for.

    Args:
        given: settings that were checked.
        sources: of the recipe.

    Raises:
        ReleaseFormatError: when licences are unknown or in conflict, and nobody accepted that.
    """
    base = str(given.get("base_license") or sources.base_licence)
    data = describe_data(sources.config.data, {}, str(given.get("data_license", "")))["sources"]
    faults = licence_faults(_own(given), base, data)
    if faults and not given.get("accept_licences"):
        raise ReleaseFormatError(
            f"{'; '.join(fault.error for fault in faults)}. State what is not (--release base_license=…, --release "
            "data_license=…), choose another license, or accept it (--release accept_licences=true): the card will "
            "say so."
        )
    return {**given, **({"base_license": base} if base else {})}


def _own(given: Mapping[str, Any]) -> str:
    names = ("license", "license_name", "license_link")
    return own_licence(*(str(given.get(name, "")) for name in names))["license"]
