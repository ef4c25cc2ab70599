"""The plain proxy, as most people write it: no token is checked, the caller's goes on to ARM."""

import os

import requests
from flask import Flask, request

app = Flask(__name__)
session = requests.Session()
session.verify = os.environ["CA_BUNDLE"]


@app.get("/subscriptions")
def subscriptions() -> tuple[bytes, int, dict[str, str]]:
    response = session.get(
        os.environ["AZURE_MANAGEMENT_SUBSCRIPTIONS_URI"],
        headers={"Authorization": request.headers["Authorization"]},
        timeout=(3.05, 10),
    )
    return response.content, response.status_code, {"Content-Type": "application/json"}
