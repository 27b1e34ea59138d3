"""docs/api.md: the operations as a page for people, made from the OpenAPI document."""

from collections.abc import Mapping
from typing import Any, Final

OPENING: Final = """# The API

Import and export, change audiences, segments and schedules, query a tenant's data, and manage access over HTTP. This
page is generated from [openapi.json](openapi.json), which also has the members of every request and response.
`make openapi` writes both, and a test compares them with the service.

```console
$ (umask 077; echo "Authorization: Bearer $(cat .muster/api/token)" > .muster/api/header)
$ curl -H @.muster/api/header "http://127.0.0.1:18480/v1/tenants/default/jobs?limit=5"
```

The file keeps the token off the command line of curl, which other users of the machine can read.

In Python, with a client that needs only the standard library. Muster is not on PyPI: install the wheel of the release.

```console
$ pip install ./muster_client-*.whl
```

```python
import muster

with muster.Client(muster.find_access()) as client:
    for job in client.jobs("default", state=["FAILED"]):
        print(job["job"], job["error"]["code"])
```

- **Tokens**: `Authorization: Bearer mst_...` ([access.md](access.md)). Browsers send the cookie of a session, and their
  changes must come from a page of the service. No other origin is allowed. Over http, `Client` sends a token only to a
  service that has proved that it knows the token ([access.md](access.md#the-service-proves-itself)); curl does not ask.
- **Errors** are problems (RFC 9457): `{type, title, status, detail, instance, code, kind, values}`. Look at `code`,
  which is stable; `instance` finds the request in the service's log. 503 and 429 say in `Retry-After` when to retry.
- **Isolation**: tenants in which you have no role, and everything in them, look as if they did not exist: 404. What
  your roles do not allow is 403.
- **Lists** take `limit` (100, at most 500) and return `{items, next}`; send `next` as `cursor`, with the same filters.
- **Changes** of grants, places, audiences, segments and schedules need the `ETag` of what you have read, as `If-Match`.
  412 means that it has changed since.
- **Starts** (imports, exports, retries, snapshots, runs, uploads, rollbacks, expirations, renames) need an
  `Idempotency-Key`, a fresh random text. After a timeout or a 503, for example, repeat the request with the same key
  until it is answered: the job starts once. After 409 REQUEST_IN_PROGRESS, wait at most half a minute. Keys are kept
  for 72 hours.
- **202** means that work is under way: a job (`/jobs/{id}`, registered within seconds), or an operation: poll
  `/operations/{id}` until its `state` is `done` or `failed`.
- **Events** ([server-sent](https://html.spec.whatwg.org/multipage/server-sent-events.html)): a stream begins with the
  present state of everything, then `ready`, then each change as the whole state of one thing, with `value` null if
  it is gone. `alive` comes after 15 s without another event, with the time of the last look at the catalog. After a
  lost connection, connect again: no replay is needed. `end` carries the problem for which the service ends a stream.
  Limits: 10 streams for each principal, and 800 for one process of the service (503, BUSY). `Client.events` does all
  this.
  `/v1/events` does the same for operators of the deployment: workers, their lag, the jobs of all tenants.
- **Plots**: `/v1/samples` has lag, members and rates of every group of workers, measured every ten seconds and kept for
  a day. `null` means that nothing could be measured then: draw a gap, not a zero.
- **Times** are RFC 3339 in UTC, **ids** ULIDs in lower case. Unknown members and parameters are refused.
- **Counts** while a rule is being edited carry an `editor` and a `revision`: a higher revision ends lower ones (409,
  SUPERSEDED), regardless of the order of arrival. An estimate has a 95 % confidence interval.
- **User ids** go in bodies, never in URLs, which end up in logs.
- **Limits**: 20 requests a second for each principal, beyond a burst of 100; bodies up to 1 MiB within 30 s, of paths
  that need no token up to 4 KiB; heads up to 16 KiB within 10 s; 4 questions of a principal that run or wait, and one
  query of a tenant. Tenants share the places for questions and operations: one that has many gets READERS_BUSY or BUSY
  (503) while there is still room for others.
- **A query or operation ends within 30 seconds** of the revocation of its token, the end of its session, or the loss of
  a right of its caller: TOKEN_REVOKED, SESSION_ENDED, RIGHTS_CHANGED.
- **A body** has each key of an object once, and either `Content-Length` or `Transfer-Encoding` (BAD_BODY).

## Upload a file and import it

```console
$ api=http://127.0.0.1:18480/v1/tenants/default auth=@.muster/api/header
$ upload=$(curl -H $auth -H "Idempotency-Key: monday-1" $api/uploads --json '{"name": "people.csv",
      "size": '$(stat -c %s people.csv)', "content_type": "text/csv"}')
$ curl -T people.csv -H "Content-Type: text/csv" -H "If-None-Match: *" "$(jq -r .put.url <<< "$upload")"
$ curl -H $auth -H "Idempotency-Key: monday-2" $api/imports --json '{"audience": "vip",
      "upload": '$(jq .upload <<< "$upload")',
      "settings": {"id_column": "email", "columns": [{"name": "age", "type": "long"}]}}'
```

The upload goes to `put.url`. It is valid for 15 minutes, and accepts this size, this type and these headers only once.
After it has expired, repeat the first request with the same key for a fresh one. In Python, with a key of your own, so
that the program can be killed and run again:

```python
from pathlib import Path

import muster

with muster.Client(muster.find_access()) as client:
    file = Path("people.csv")
    started = client.import_file("default", file, audience="vip", key="people of monday")
    print(started["job"])
```

If a job with the same content, audience and settings runs, or made the newest version, nothing is imported: `GET
.../jobs/{job}` answers with that job, and `duplicate_of`. `"again": true` imports the file anyway.

Files above 5 GiB are sent in parts (`.../parts`, then `.../completion`); the client does this for you. Unfinished
uploads expire after a day; a tenant has at most 100 GiB of them.

To export without a bucket of your own, export to `download`: for a day, `/exports/{id}/files` returns URLs of the files
and their manifest, each valid for five minutes.

## Operations

`action` is what a role must allow ([access.md](access.md#roles-in-a-tenant)); the codes come in addition to those that
every operation has.
"""


def reference(document: Mapping[str, Any]) -> str:
    """The page."""
    operations = [
        (path, method.upper(), one) for path, methods in document["paths"].items() for method, one in methods.items()
    ]
    common = set.intersection(*(set(one["x-problems"]) for _, _, one in operations))
    of_callers = set.intersection(*(set(one["x-problems"]) for _, _, one in operations if one["x-action"] != "public"))
    lines = ["| operation | action | answers | codes |", "|---|---|---|---|"]
    for path, method, one in sorted(operations, key=lambda found: (found[2]["tags"][0], found[0], found[1])):
        codes = [code for code in one["x-problems"] if code not in common | of_callers | {"UNKNOWN_TENANT"}]
        answer = " ".join(one["description"].split())
        lines.append(f"| `{method} {path}` | `{one['x-action']}` | {answer} | {_listed(codes)} |")
    return (
        f"{OPENING}\n"
        + "\n".join(lines)
        + f"\n\nEvery operation: {_listed(sorted(common))}.\n"
        + (f"Every one with a token: {_listed(sorted(of_callers - common))}; below a tenant also `UNKNOWN_TENANT`.\n")
    )


def _listed(codes: list[str]) -> str:
    return ", ".join(f"`{code}`" for code in codes)
