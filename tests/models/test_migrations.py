"""Old code goes on working on the new schema for as long as a deploy takes: migrations only add."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED

APP = "connected_accounts"
HARMLESS = (
    migrations.CreateModel,
    migrations.AddIndex,
    migrations.RemoveIndex,
    migrations.RenameIndex,
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
    migrations.RunPython,
)


def objection(operation: Any, before: ProjectState) -> str:
    """Why code from before an operation could fail behind it, or an empty text."""
    if isinstance(operation, HARMLESS):
        return ""
    if isinstance(operation, migrations.AddField):
        field = operation.field
        if field.many_to_many or field.null or field.db_default is not NOT_PROVIDED:
            return "old inserts would collide" if field.unique else ""
        return "old inserts leave it out: it needs null=True or a db_default"
    if isinstance(operation, migrations.AlterField):
        old = before.models[APP, operation.model_name.lower()].fields[operation.name]
        return altered(old, operation.field)
    return "old code reads or writes what was there"


def altered(old: Any, new: Any) -> str:
    if type(old) is not type(new) or old.db_column != new.db_column:
        return "its type or its name changes"
    if old.null and not new.null:
        return "old code writes NULL"
    if new.unique and not old.unique:
        return "old inserts would collide"
    if (new.max_length or 10**9) < (old.max_length or 10**9):
        return "old code writes longer values"
    return ""


def later_operations() -> Iterator[tuple[str, Any, ProjectState]]:
    """Each operation since the first migration, and the state of the models before it."""
    loader = MigrationLoader(connection)
    for app, name in loader.graph.forwards_plan(loader.graph.leaf_nodes(APP)[0]):
        migration = loader.get_migration(app, name)
        if app != APP or migration.initial:
            continue
        state = loader.project_state((app, name), at_end=False)
        for operation in migration.operations:
            yield name, operation, state.clone()
            operation.state_forwards(app, state)


@pytest.mark.django_db
def test_every_migration_leaves_the_code_before_it_working() -> None:
    found = {
        f"{name}: {operation.describe()}": said
        for name, operation, before in later_operations()
        if (said := objection(operation, before))
    }
    assert not found


@pytest.fixture
def before() -> ProjectState:
    state = ProjectState()
    fields = [
        ("id", models.BigAutoField(primary_key=True)),
        ("free", models.CharField(max_length=64, null=True)),
        ("filled", models.CharField(max_length=64)),
    ]
    migrations.CreateModel("Thing", fields).state_forwards(APP, state)
    return state


@pytest.mark.parametrize(
    "operation",
    [
        migrations.RemoveField("thing", "free"),
        migrations.RenameField("thing", "free", "other"),
        migrations.DeleteModel("Thing"),
        migrations.RenameModel("Thing", "Other"),
        migrations.AddField("thing", "new", models.IntegerField(default=0)),
        migrations.AddField("thing", "new", models.IntegerField(null=True, unique=True)),
        migrations.AlterField("thing", "free", models.CharField(max_length=64)),
        migrations.AlterField("thing", "free", models.CharField(max_length=64, db_default="")),
        migrations.AlterField("thing", "filled", models.CharField(max_length=32)),
        migrations.AlterField("thing", "filled", models.TextField()),
        migrations.AlterField("thing", "filled", models.CharField(max_length=64, unique=True)),
        migrations.RunSQL("SELECT 1"),
    ],
    ids=lambda operation: operation.describe(),
)
def test_an_operation_that_would_break_old_code_is_refused(
    operation: Any, before: ProjectState
) -> None:
    assert objection(operation, before)


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("thing", "new", models.IntegerField(null=True)),
        migrations.AddField("thing", "new", models.IntegerField(db_default=0)),
        migrations.AlterField("thing", "filled", models.CharField(max_length=99, null=True)),
        migrations.AddIndex("thing", models.Index(fields=["free"], name="by_free")),
    ],
    ids=lambda operation: operation.describe(),
)
def test_an_operation_that_only_adds_is_let_through(operation: Any, before: ProjectState) -> None:
    assert objection(operation, before) == ""
