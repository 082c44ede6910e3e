"""What the fuzzer must know about the API and no schema can say. Loaded by schemathesis.toml."""

import schemathesis

# Changing these would change what every later request of the run is answered.
RUN_DEPENDS_ON = ("rate_limit.", "allocation.max_", "allocation.task_", "node.")
HARMLESS_POLICY = "billing.window_seconds"


def _is_hold(value):
    return isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).isdigit()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keeps the run's own budgets, and does not sit out long polls."""
    operation = case.operation.definition.raw.get("operationId")
    if operation == "adminSetPolicy" and isinstance(case.path_parameters, dict):
        if str(case.path_parameters.get("policy_key", "")).startswith(RUN_DEPENDS_ON):
            case.path_parameters["policy_key"] = HARMLESS_POLICY
    if operation == "waitForTasks" and case.method.upper() == "GET":
        query = case.query if isinstance(case.query, dict) else {}
        hold = query.get("hold_seconds")
        if hold is None or (_is_hold(hold) and 0 < int(hold) <= 30):
            case.query = {**query, "hold_seconds": 0}
