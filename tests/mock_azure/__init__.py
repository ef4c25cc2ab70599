"""A mock of what the sample needs of Azure: Entra ID, Resource Manager, some of Microsoft Graph."""

from .azure import MockAzure

__all__ = ["MockAzure"]
