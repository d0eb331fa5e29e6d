"""moto's server on a free port, with what EC2 does and moto leaves out.

The product leans on these, so the lab must have them:
- a client token makes RunInstances and CreateFleet idempotent;
- DescribeInstances can be filtered by client-token and instance-lifecycle;
- a queue serves many clients at once (queues.py).

usage: server.py PORT_FILE
"""

import os
import signal
import sys
import threading

# 1,300 public images would be searched for each instance that starts.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"

import queues  # noqa: E402
from moto import backends  # noqa: E402
from moto.ec2 import utils  # noqa: E402
from moto.ec2.exceptions import EC2ClientError  # noqa: E402
from moto.ec2.responses.fleets import Fleets  # noqa: E402
from moto.ec2.responses.instances import InstanceResponse  # noqa: E402
from moto.server import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server  # noqa: E402


class IdempotentParameterMismatch(EC2ClientError):
    def __init__(self, token):
        super().__init__(
            "IdempotentParameterMismatch",
            f"The client token {token} was used before with other parameters.",
        )


def idempotent(cls, name):
    """Give the first answer again to a request with a token that was seen."""
    original = getattr(cls, name)
    answers = {}
    lock = threading.Lock()

    def wrapped(self):
        token = self._get_param("ClientToken")
        if not token:
            return original(self)
        key = (self.current_account, self.region, token)
        request = sorted((k, str(v)) for k, v in self.data.items())
        with lock:  # two of the same at once are the case to guard
            if key not in answers:
                answers[key] = (request, original(self))
            before, answer = answers[key]
        if before != request:
            raise IdempotentParameterMismatch(token)
        return answer

    setattr(cls, name, wrapped)


def main(port_file):
    idempotent(InstanceResponse, "run_instances")
    idempotent(Fleets, "create_fleet")
    queues.install()
    # moto lists its own folder for each request.
    modules = set(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    utils.filter_dict_attribute_mapping["client-token"] = "client_token"
    utils.filter_dict_attribute_mapping["instance-lifecycle"] = "lifecycle"

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler
    )
    with open(port_file + ".new", "w", encoding="ascii") as f:
        f.write(str(server.port))
    os.rename(port_file + ".new", port_file)
    server.serve_forever()


main(sys.argv[1])
