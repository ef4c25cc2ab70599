"""A mock of the part of Azure that the sample talks to: Entra ID and Azure Resource Manager."""

from .azure import MockAzure

__all__ = ["MockAzure"]
