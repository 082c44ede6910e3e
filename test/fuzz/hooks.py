"""What the fuzzer must know about the API and no schema can say. Loaded by schemathesis.toml."""

import base64
import itertools
import json
import os
import urllib.request
import uuid

import schemathesis

# Changing these would change what every later request of the run is answered.
RUN_DEPENDS_ON = ("rate_limit.", "allocation.max_", "allocation.task_", "node.")
HARMLESS_POLICY = "billing.window_seconds"


def _fact(name):
    with open(os.path.join(os.environ["FUZZ_FACTS"], f"{name}.dict"), encoding="utf-8") as lines:
        return lines.readline().strip().strip('"')


def _facts(name):
    with open(os.path.join(os.environ["FUZZ_FACTS"], f"{name}.dict"), encoding="utf-8") as lines:
        return [line.strip().strip('"') for line in lines if line.strip()]


_counters = {}


def _next_fact(name):
    """The values of a fact in turn."""
    values = _counters.setdefault(name, itertools.cycle(_facts(name)))
    return next(values)


# A replay of all letters takes longer than a second; it is cancelled right after it began. Few: each sends all letters.
REPLAYS_TO_CANCEL = 3
_begun = itertools.count()


def _running_replay(case, kwargs):
    base = kwargs.get("base_url") or case.operation.base_url
    request = urllib.request.Request(
        f"{base}/api/v1/admin/dlq-replays",
        data=json.dumps({"filter": {}, "dry_run": False, "reason": "fuzz"}).encode(),
        headers={
            "authorization": f"Bearer {os.environ['FUZZ_TOKEN']}",
            "content-type": "application/json",
            "x-idempotency-key": str(uuid.uuid4()),
        },
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        begun = json.load(answer)
    return begun.get("entity_id", begun["id"])


def _own_node():
    return _fact("node")


def _stays_foreign(value):
    """One id in eight stays as it is drawn; what is no id always does."""
    try:
        return uuid.UUID(str(value)).int % 8 == 0
    except ValueError:
        return True


def _is_hold(value):
    return isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).isdigit()


def _was_given(cursor):
    """A list gives its position as base64url of a JSON array; no schema can say so."""
    try:
        return isinstance(json.loads(base64.urlsafe_b64decode(f"{cursor}==")), list)
    except ValueError:
        return False


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keeps the run's own budgets, plays the right node, and does not sit out long polls."""
    operation = case.operation.definition.raw.get("operationId")
    path = case.path_parameters if isinstance(case.path_parameters, dict) else {}
    query = case.query if isinstance(case.query, dict) else {}
    meant_well = case.meta is not None and case.meta.generation.mode.is_positive
    if meant_well and "cursor" in query and not _was_given(query["cursor"]):
        # Drawn out of the air it is a mistake, and is told as one; what the list is asked beside it is looked at.
        case.query = query = {name: value for name, value in query.items() if name != "cursor"}
    if operation == "adminSetPolicy" and str(path.get("policy_key", "")).startswith(RUN_DEPENDS_ON):
        path["policy_key"] = HARMLESS_POLICY
    if operation in ("waitForTasks", "postTaskResult") and not _stays_foreign(path.get("node_id")):
        # A secret covers its own node only, so what follows is seen behind it alone.
        path["node_id"] = _own_node()
    if operation == "adminForceReleaseAllocation" and path.get("allocation_id") == _fact("releasable"):
        # Learnt from a list: the user's release of it must find it active.
        path["allocation_id"] = _next_fact("allocation")
    if operation == "releaseAllocation" and not _stays_foreign(path.get("allocation_id")):
        # One that no force-release of the run can end first.
        path["allocation_id"] = _fact("releasable")
    if operation == "adminDiscardDeadLetter" and not _stays_foreign(path.get("dead_letter_id")):
        path["dead_letter_id"] = _next_fact("discardable")
    if operation == "adminCancelDlqReplay" and case.method.upper() == "POST" and not _stays_foreign(path.get("dlq_replay_id")):
        if next(_begun) < REPLAYS_TO_CANCEL:
            path["dlq_replay_id"] = _running_replay(case, kwargs)
    if operation == "waitForTasks" and case.method.upper() == "GET":
        hold = query.get("hold_seconds")
        if hold is None or (_is_hold(hold) and 0 < int(hold) <= 30):
            case.query = {**query, "hold_seconds": 0}
