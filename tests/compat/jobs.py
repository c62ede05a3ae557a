"""Jobs that workers of Celery and RQ run, in processes that are not the app."""

import os

from celery import Celery

from flask_sse_hub import Publisher

celery = Celery("jobs", broker=os.environ.get("COMPAT_REDIS"))
publisher = Publisher(os.environ["COMPAT_LOG"], name="compat")


@celery.task(name="greet", ignore_result=True)  # type: ignore[untyped-decorator]
def greet(user: str) -> None:
    """Publish a greeting to a user."""
    publisher.publish("from a job", user=user)
