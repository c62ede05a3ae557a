"""``@sse_hub.publishes(Model)``: an event for each changed row, after the commit."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, insert
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_sse_hub import InvalidOption, Outbox, SSEHub
from flask_sse_hub.database.row_changes import RowChange
from flask_sse_hub.testing import Published

db = SQLAlchemy()
sse_hub = SSEHub(outbox=Outbox(db))


class Customer(db.Model):  # type: ignore[name-defined,misc]
    """A person with orders."""

    id: Mapped[int] = mapped_column(primary_key=True)
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(db.Model):  # type: ignore[name-defined,misc]
    """A table whose changes are published, with a column of another name."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column("number", primary_key=True)
    total: Mapped[int] = mapped_column(default=0)
    secret: Mapped[str] = mapped_column(default="secret")
    kind: Mapped[str] = mapped_column(default="order")
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customer.id"))
    customer: Mapped[Customer | None] = relationship(back_populates="orders")

    __mapper_args__: ClassVar[Any] = {
        "polymorphic_on": "kind",
        "polymorphic_identity": "order",
    }


class Gift(Order):
    """A subclass in the same table."""

    __mapper_args__: ClassVar[Any] = {"polymorphic_identity": "gift"}


def register() -> None:
    """Register the function, as each call of an app factory does."""

    @sse_hub.publishes(Order)
    def order_changed(change: RowChange) -> dict[str, Any] | None:
        if change.columns.get("total") == 13:
            return None
        columns = {k: v for k, v in change.columns.items() if k != "secret"}
        return {"data": [dict(change.key), columns], "channel": "orders"}


@pytest.fixture
def published() -> Iterator[Published]:
    app = Flask("site")
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite://", SSE_HUB_BROKER_URL="memory://"
    )
    db.init_app(app)
    sse_hub.init_app(app)
    register()
    with app.app_context():
        db.create_all()
        yield Published(app)
        app.extensions["sse_hub"].close()
        db.session.remove()
        db.drop_all()
        db.engine.dispose()


def test_each_change_is_an_event_with_its_columns(published: Published) -> None:
    """Only columns that the database has a new value for, and only after the commit."""
    order = Order(id=1, total=5)
    db.session.add(order)
    db.session.flush()
    assert published.events() == []
    db.session.commit()
    order.total = 6
    db.session.commit()
    db.session.delete(order)
    db.session.commit()
    events = [(each.type, each.json()) for each in published.events(channel="orders")]
    assert events == [
        (
            "orders.insert",
            [{"id": 1}, {"id": 1, "total": 5, "kind": "order"}],
        ),
        ("orders.update", [{"id": 1}, {"total": 6}]),
        ("orders.delete", [{"id": 1}, {}]),
    ]


def test_a_rollback_publishes_nothing(published: Published) -> None:
    """Of the whole, or of a savepoint."""
    db.session.add(Order(total=1))
    with pytest.raises(KeyError), db.session.begin_nested():  # noqa: PT012
        db.session.add(Order(total=2))
        db.session.flush()
        raise KeyError
    db.session.commit()
    db.session.add(Order(total=3))
    db.session.flush()
    db.session.rollback()
    assert [each.json()[1]["total"] for each in published.events()] == [1]


def test_a_row_that_stays_as_it_is_is_no_change(published: Published) -> None:
    """A relationship marks both of its ends, and an equal value is no new one."""
    customer, order = Customer(), Order(total=1)
    db.session.add_all([customer, order])
    db.session.commit()
    published.clear()
    assert order.total == 1
    order.total = 1
    customer.orders.append(order)
    db.session.commit()
    assert published.one().json()[1] == {"customer_id": customer.id}


def test_subclasses_are_included(published: Published) -> None:
    """The type has the name of their table."""
    db.session.add(Gift(total=2))
    db.session.commit()
    assert published.one(type="orders.insert").json()[1]["kind"] == "gift"


def test_none_is_no_event(published: Published) -> None:
    """The function decides for each row."""
    db.session.add_all([Order(total=13), Order(total=14)])
    db.session.commit()
    assert published.one().json()[1]["total"] == 14


def test_statements_without_objects_are_not_seen(published: Published) -> None:
    """As the docs say."""
    db.session.execute(insert(Order).values(total=1, secret="s", kind="order"))
    db.session.commit()
    assert published.events() == []


def test_it_may_go_through_the_outbox(published: Published) -> None:
    """The row of the outbox is written in the same flush."""

    @sse_hub.publishes(Customer, on="insert", outbox=True)
    def customer_came(change: RowChange) -> dict[str, Any]:
        return {"data": "came", "type": "customer"}

    db.session.add(Customer())
    db.session.flush()
    outbox = db.metadata.tables["sse_hub_outbox"]
    assert len(db.session.execute(outbox.select()).all()) == 1
    db.session.commit()
    assert published.one().type == "customer"


class Other(db.Model):  # type: ignore[name-defined,misc]
    """A table whose function makes a mistake."""

    id: Mapped[int] = mapped_column(primary_key=True)


def test_a_function_that_returns_something_else_is_told(published: Published) -> None:
    """The view that changes the row has the error."""
    returned: list[Any] = ["text", {"user": 1}]

    @sse_hub.publishes(Other)
    def other_changed(change: RowChange) -> Any:
        return returned.pop()

    for _ in range(2):
        db.session.add(Other())
        with pytest.raises(InvalidOption, match="other_changed of publishes"):
            db.session.commit()
        db.session.rollback()


@pytest.mark.parametrize(
    ("model", "on", "text"),
    [
        ("orders", "insert", "takes a model"),
        (str, "insert", "takes a model"),
        (Order, "insert, update", "join insert, update and delete"),
        (Order, "", "join insert, update and delete"),
        (Order, None, "join insert, update and delete"),
    ],
)
def test_mistakes_are_told_where_they_are_made(model: Any, on: Any, text: str) -> None:
    """Not at the first change."""
    with pytest.raises(InvalidOption, match=text):
        sse_hub.publishes(model, on=on)
    with pytest.raises(InvalidOption, match=r"calls its function as f\(change\)"):
        sse_hub.publishes(Order)(lambda: None)
