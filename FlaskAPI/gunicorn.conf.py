"""How gunicorn serves this API: ``gunicorn "main:create_app()"`` in this folder."""

worker_class = "gthread"
workers = 2
threads = 8
timeout = 60  # seconds; the API itself answers within 20
keepalive = 75  # seconds; the UI keeps its connections open between requests
limit_request_field_size = 20 * 1024  # an access token may be long; the API refuses above 16 KiB
accesslog = None  # the API logs each request itself, without the query string
control_socket_disable = True  # writes nothing beside the code
