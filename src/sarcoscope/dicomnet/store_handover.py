"""What happens to a complete study that comes over the network into the platform: as an upload."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from sarcoscope.dicomnet.rules import Rules, sort_out
from sarcoscope.dicomnet.spool import Spool
from sarcoscope.errors import NotFoundError, RetriableError, SarcoscopeError
from sarcoscope.jobs.study_job import queue_all, queue_arrivals
from sarcoscope.store.intake import take_in
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Audit, Centre, Project, ProjectCentre

log = logging.getLogger(__name__)


@dataclass
class StoreHandover:
    """Takes complete studies into a store, by the project's receiver rules.

    Without rules everything is taken, and analysed where the project processes on arrival; with rules a study
    is analysed when one of its series is to be.

    Attributes:
        told: hears one line about each study (it names nobody).
    """

    spool: Spool
    store: Store
    project_id: int
    centre_id: int
    told: Callable[[str], None] = log.info

    def step(self, quiet_s: float) -> bool:
        """Take one complete study in, if there is one; True when there was.

        A study that cannot be taken in is put aside with the reason; nothing that came is lost.
        """
        folder = self.spool.take_complete(quiet_s)
        if folder is None:
            return False
        try:
            with self.store.database.reading() as session:
                text = session.get_one(Project, self.project_id).receiver_rules
            wanted = sort_out(folder, Rules.parse(text)) if text else None
            taken = take_in(self.store, self.project_id, self.centre_id, folder)
            with self.store.database.writing() as session:
                place = {"project_id": self.project_id, "centre_id": self.centre_id}
                session.add(
                    Audit(user_name="receiver", action="receive", details={"studies": taken.studies}, **place)
                )
                if wanted is None:
                    queue_arrivals(session, self.store, self.project_id, taken.studies)
                elif wanted:
                    queue_all(session, self.store, taken.studies)
        except RetriableError:
            raise
        except SarcoscopeError as error:
            self.spool.failed(folder, str(error))
            self.told(f"A study was put aside: {error}")
            return True
        except Exception as error:
            log.error("a study failed: %s", type(error).__name__)
            self.spool.failed(folder, f"A fault in Sarcoscope ({type(error).__name__}).")
            self.told("A study was put aside: a fault in Sarcoscope.")
            return True
        self.spool.done(folder)
        aside = taken.report.quarantined.total()
        self.told(f"{taken.report.written} images taken in, {aside} set aside")
        return True


def destination(store: Store, project: str, centre: str) -> tuple[int, int]:
    """Numbers of a project and of one of its centres.

    Raises:
        NotFoundError: the store has no such project, or the centre takes no part in it.
    """
    with store.database.reading() as session:
        found = session.execute(
            select(ProjectCentre.project_id, ProjectCentre.centre_id)
            .join(Project, Project.id == ProjectCentre.project_id)
            .join(Centre, Centre.id == ProjectCentre.centre_id)
            .where(Project.code == project, Centre.code == centre)
        ).first()
    if found is None:
        raise NotFoundError(f"The store has no centre '{centre}' in a project '{project}'.")
    return found[0], found[1]
