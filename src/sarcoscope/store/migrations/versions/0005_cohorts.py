"""Cohort studies, and every result as rows of a table."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("analysis") as analysis:
        analysis.add_column(sa.Column("rows", sa.JSON(), nullable=True))
    op.create_table(
        "cohort",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(61), nullable=False),
        sa.Column("centres", sa.JSON(), nullable=False),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "name"),
    )
    op.create_index("ix_cohort_project_id", "cohort", ["project_id"])
    op.create_table(
        "cohort_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cohort_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("table_name", sa.String(200), nullable=False),
        sa.Column("mapping", sa.JSON(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job_key", sa.String(200), nullable=True),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohort.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("cohort_id", "number"),
    )
    op.create_index("ix_cohort_version_cohort_id", "cohort_version", ["cohort_id"])
    op.create_table(
        "cohort_file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["cohort_version.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("version_id", "name"),
    )
    op.create_index("ix_cohort_file_version_id", "cohort_file", ["version_id"])
    op.create_index("ix_cohort_file_sha256", "cohort_file", ["sha256"])


def downgrade() -> None:
    """Take back."""
    for table in ("cohort_file", "cohort_version", "cohort"):
        op.drop_table(table)
    with op.batch_alter_table("analysis") as analysis:
        analysis.drop_column("rows")
