"""A mock of the parts of Azure that the sample uses: Entra ID, Resource Manager and Graph."""

from .azure import MockAzure

__all__ = ["MockAzure"]
