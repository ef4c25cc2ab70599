"""How gunicorn serves this app: ``gunicorn UI.wsgi`` in this folder."""

worker_class = "gthread"
workers = 2
threads = 8
timeout = 60  # seconds; the app itself waits 28 for its API
limit_request_line = 8190  # sign-in codes are long
limit_request_field_size = 32 * 1024  # as are the cookies of unfinished sign-ins
accesslog = None  # the app logs each request itself, without the query string: it may hold a code
# Whether the browser used https is for Django to judge, by BEHIND_TLS_PROXY.
secure_scheme_headers: dict[str, str] = {}
control_socket_disable = True  # writes nothing beside the code
