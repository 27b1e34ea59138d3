"""Schedules of a tenant."""

from itertools import islice

from orchestration.access.guard import reads
from orchestration.access.pages import Page, Record, page_of
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.operations.schedule_records import schedule_record
from orchestration.platform.clock import iso, now_ms
from schemas.ids import schedule_name
from segmentation.timetable import timetable


class SchedulesView(TenantView):
    """Schedules as one caller sees them."""

    @reads(Action.READ)
    def schedules(self, *, after: str = "", limit: int) -> Page[Record]:
        """Schedules by name."""
        found = self._services.schedules.page(self._name, after=after, limit=limit + 1)
        jobs, exports = self._services.jobs, self._services.exports
        return page_of(found, limit, lambda one: one.name, lambda one: schedule_record(jobs, exports, one))

    @reads(Action.READ)
    def schedule(self, name: str) -> Record:
        """The schedule of that name. Raises `UserError` BAD_NAME, UNKNOWN_SCHEDULE."""
        found = self._services.schedules.get(self._name, schedule_name(name))
        return schedule_record(self._services.jobs, self._services.exports, found)

    @reads(Action.READ)
    def upcoming(self, name: str, *, count: int) -> list[str]:
        """The next times of a schedule; none while it is paused. Raises as `schedule`."""
        found = self._services.schedules.get(self._name, schedule_name(name))
        if not found.enabled:
            return []
        times = timetable(found.expression, found.timezone, found.created_at_ms)
        return [iso(at) for at in islice(times.upcoming(now_ms()), count)]
