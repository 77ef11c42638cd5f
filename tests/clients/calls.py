"""Ten calls with the client that openapi-python-client makes of the contract. Prints `ok` at the end."""

import datetime
import sys

from cc_anywhere_client import AuthenticatedClient
from cc_anywhere_client.api.queue import get_queue_stats, set_limit
from cc_anywhere_client.api.schedules import add_schedule
from cc_anywhere_client.api.tasks import (
    cancel_task,
    change_task,
    explain_task,
    get_task,
    list_task_events,
    list_tasks,
    submit_task,
)
from cc_anywhere_client.models import (
    Error,
    EventPage,
    Explanation,
    GroupKind,
    LimitState,
    LogEvent,
    NewLimit,
    NewSchedule,
    Options,
    PermissionMode,
    Receipt,
    Schedule,
    SdkOptions,
    Stats,
    Status,
    StatusEvent,
    TaskChanges,
    TaskPage,
    TaskSpec,
    TaskView,
)

url, key = sys.argv[1:]
api = AuthenticatedClient(base_url=url, token=key, prefix="", auth_header_name="X-API-Key")


def must(kind, answer):
    """The answer of a call; what the server refuses is an error."""
    assert isinstance(answer, kind), answer
    return answer


later = datetime.datetime(2125, 1, 1, tzinfo=datetime.timezone.utc)
options = Options(sdk=SdkOptions(permission_mode=PermissionMode.ASK))
spec = TaskSpec(instruction="From Python", run_at=later, tags=["py"], options=options)
receipt = must(Receipt, submit_task.sync(client=api, body=spec))
page = must(TaskPage, list_tasks.sync(client=api, tag="py", status=Status.PENDING))
assert [task.task_id for task in page.tasks] == [receipt.task_id] and page.total == 1
task_id = str(receipt.task_id)
task = must(TaskView, get_task.sync(task_id, client=api))
assert task.options.sdk.permission_mode == PermissionMode.DEFAULT and task.result is None
assert must(TaskView, change_task.sync(task_id, client=api, body=TaskChanges(priority=7))).priority == 7
events = must(EventPage, list_task_events.sync(task_id, client=api)).events
assert must(StatusEvent, events[0]).data.status == Status.PENDING and "priority 7" in must(LogEvent, events[1]).data.message
assert any(one.code == "NOT_DUE" for one in must(Explanation, explain_task.sync(task_id, client=api)).reasons)
schedule = NewSchedule(cron="0 0 1 1 *", task=TaskSpec(instruction="Yearly"))
assert must(Schedule, add_schedule.sync(client=api, body=schedule)).time_zone == "UTC"
limit = must(LimitState, set_limit.sync(client=api, body=NewLimit(group=GroupKind.TAG, name="py", concurrency=2)))
assert limit.concurrency == 2 and limit.rate is None
assert must(Stats, get_queue_stats.sync(client=api)).pending >= 1
assert must(TaskView, cancel_task.sync(task_id, client=api)).status == Status.CANCELLED
assert must(Error, get_task.sync("none", client=api)).error.code == "TASK_NOT_FOUND"
print("ok")
