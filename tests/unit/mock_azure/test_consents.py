import threading

import pytest

from tests.mock_azure import MockAzure
from tests.mock_azure.consents import Consent, Consents
from tests.mock_azure.directory import ARM_ID, GRAPH_ID


def test_consents_can_be_revoked_for_one_resource_or_one_client(azure: MockAzure):
    azure.consent_all("alice")
    azure.consent_all("bob")
    ui, api, granted = azure.ui.client_id, azure.api.client_id, azure.consents.granted
    azure.consents.revoke("alice", client=ui, resource=api)
    assert not granted("alice", ui, api)
    assert granted("alice", ui, GRAPH_ID)
    azure.consents.revoke("alice", client=api)
    assert not granted("alice", api, ARM_ID)
    assert granted("alice", ui, GRAPH_ID)
    azure.consents.revoke("alice")
    assert not granted("alice", ui, GRAPH_ID)
    assert granted("bob", api, ARM_ID) == {"user_impersonation"}
    assert granted("bob", ui, api) == {"access_as_user"}


@pytest.mark.usefixtures("eager_switching")
def test_a_user_gets_a_token_while_others_consent(azure: MockAzure):
    api, arm = list(azure.applications.values())[:2]
    consents = Consents(azure.users)
    for user in ["alice", *(f"earlier{number}" for number in range(2000))]:
        consents.grant(user, [Consent(api, arm, "user_impersonation")])

    def others_consent():
        for number in range(3000):
            consents.grant(f"user{number}", [Consent(api, arm, "user_impersonation")])

    others = threading.Thread(target=others_consent)
    others.start()
    while others.is_alive():
        granted = consents.granted("alice", api.client_id, arm.client_id)
        assert granted == {"user_impersonation"}
    others.join()
