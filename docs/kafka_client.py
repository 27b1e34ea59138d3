"""How the scripts beside this one reach Kafka. BROKER is one of

    host:port                                                            in the clear, without a user
    sasl_plaintext://host:port?mechanism=SCRAM-SHA-512&credentials=FILE  a user with a password
    sasl_ssl://host:port?mechanism=SCRAM-SHA-512&credentials=FILE        the same with TLS

FILE is JSON, {"username": ..., "password": ...}, as kafka/client.json in the home of an embedded stack.
"""

import json
from pathlib import Path
from urllib.parse import parse_qsl


def settings(broker):
    """Settings of every confluent-kafka client; never log them, since they contain the password."""
    if "://" not in broker:
        return {"bootstrap.servers": broker}
    protocol, _, rest = broker.partition("://")
    servers, _, query = rest.partition("?")
    given = dict(parse_qsl(query))
    user = json.loads(Path(given["credentials"]).read_text(encoding="utf-8"))
    return {
        "bootstrap.servers": servers,
        "security.protocol": protocol,
        "sasl.mechanism": given["mechanism"],
        "sasl.username": user["username"],
        "sasl.password": user["password"],
    }
