"""Incidents with the names of messages and signals in them, for people; machines get the IDs alone."""

from dataclasses import replace

from graphids.core.incidents.incident import Incident
from graphids.core.vehicle_names import VehicleNames


def named_incident(incident: Incident, names: VehicleNames | None) -> Incident:
    """The incident with names beside its arbitration IDs and those of its reason; as it is without a database.

    Where `text` writes it, and the report; what a program reads keeps the IDs as they were.
    """
    if names is None:
        return incident
    ids = tuple((names.label(arbitration_id), suspicion) for arbitration_id, suspicion in incident.arbitration_ids)
    return replace(incident, arbitration_ids=ids, reason=names.in_text(incident.reason))
