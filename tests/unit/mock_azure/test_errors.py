"""Each number of the AADSTS table is answered as the table says, on the wire."""

import re

import pytest

from tests.mock_azure.directory import COMMAND_LINE_ID
from tests.mock_azure.errors import AADSTS

# These need what the mock does not simulate: disabled accounts, devices, load, idle months.
# A test that needs one asks for it as a fault.
ON_DEMAND = [50057, 50079, 50105, 50196, 53000, 70043, 90033, 90055, 90072]


@pytest.mark.parametrize("code", ON_DEMAND)
def test_fault_answers_as_the_table_says_for(azure, exchange, code):
    row = AADSTS[code]
    azure.faults.add("token:on_behalf_of", code)
    response = exchange(azure.access_token())
    assert response.status_code == row.status
    assert response.json["error"] == row.error
    assert response.json["error_codes"] == [code]
    assert response.json.get("suberror", "") == row.suberror
    assert ("claims" in response.json) == bool(row.claim)


def test_device_code_is_pending_until_it_expires(azure, back):
    form = {"client_id": COMMAND_LINE_ID, "scope": "openid"}
    begun = back.post(f"/{azure.tenant_id}/oauth2/v2.0/devicecode", data=form).json
    form |= {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": begun["device_code"],
    }
    for error, code in (("authorization_pending", 70016), ("expired_token", 70020)):
        response = back.post(f"/{azure.tenant_id}/oauth2/v2.0/token", data=form)
        assert (response.json["error"], response.json["error_codes"]) == (error, [code])
        azure.clock.advance(begun["expires_in"] + 1)


def test_every_other_number_is_expected_by_a_test_of_what_provokes_it(request):
    texts = [path.read_text("utf-8") for path in request.path.parent.glob("test_*.py")]
    numbers = {
        int(number) for text in texts for number in re.findall(r"(?<!\d)\d{5,7}(?!\d)", text)
    }
    assert AADSTS.keys() - {*ON_DEMAND} <= numbers
