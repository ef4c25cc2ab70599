"""How gunicorn serves this app: ``gunicorn UI.wsgi`` in this folder."""

worker_class = "gthread"
workers = 2
threads = 8
timeout = 60  # seconds; the app itself waits 28 for its API
limit_request_line = 8190  # sign-in codes are long
limit_request_field_size = 32 * 1024  # as are the cookies of unfinished sign-ins
accesslog = "-"
# %(U)s is the path alone: query strings hold sign-in codes.
access_log_format = '%(t)s "%(m)s %(U)s" %(s)s %(M)sms %({x-ms-client-request-id}o)s'
# Whether the browser used https is for Django to judge, by BEHIND_TLS_PROXY.
secure_scheme_headers: dict[str, str] = {}
control_socket_disable = True  # writes nothing beside the code
