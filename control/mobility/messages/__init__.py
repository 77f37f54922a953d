"""Mobility messages: what a Mobility Header carries (RFC 6275 section 6.1, RFC 5142)."""

from __future__ import annotations

from typing import TypeAlias

from control.mobility.messages.binding_acknowledgement import BindingAcknowledgement, BindingAcknowledgementStatus
from control.mobility.messages.binding_error import BindingError, BindingErrorStatus
from control.mobility.messages.binding_refresh_request import BindingRefreshRequest
from control.mobility.messages.binding_update import BindingUpdate
from control.mobility.messages.care_of_test import CareOfTest
from control.mobility.messages.care_of_test_init import CareOfTestInit
from control.mobility.messages.home_agent_switch import HomeAgentSwitch
from control.mobility.messages.home_test import HomeTest
from control.mobility.messages.home_test_init import HomeTestInit
from control.mobility.messages.unknown import UnknownMobilityMessage

KnownMobilityMessage: TypeAlias = (
    BindingAcknowledgement
    | BindingError
    | BindingRefreshRequest
    | BindingUpdate
    | CareOfTest
    | CareOfTestInit
    | HomeAgentSwitch
    | HomeTest
    | HomeTestInit
)
MobilityMessage: TypeAlias = KnownMobilityMessage | UnknownMobilityMessage

KNOWN_MESSAGES: dict[int, type[KnownMobilityMessage]] = {
    message.message_type: message
    for message in (
        BindingAcknowledgement,
        BindingError,
        BindingRefreshRequest,
        BindingUpdate,
        CareOfTest,
        CareOfTestInit,
        HomeAgentSwitch,
        HomeTest,
        HomeTestInit,
    )
}

__all__ = [
    "KNOWN_MESSAGES",
    "BindingAcknowledgement",
    "BindingAcknowledgementStatus",
    "BindingError",
    "BindingErrorStatus",
    "BindingRefreshRequest",
    "BindingUpdate",
    "CareOfTest",
    "CareOfTestInit",
    "HomeAgentSwitch",
    "HomeTest",
    "HomeTestInit",
    "KnownMobilityMessage",
    "MobilityMessage",
    "UnknownMobilityMessage",
]
