"""Corrections by readers (drafts, versions that count, renumbered levels) and reader studies."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("study", sa.Column("segmentation_id", sa.Integer(), nullable=True))
    op.add_column("analysis", sa.Column("correction_id", sa.Integer(), nullable=True))
    op.add_column(
        "level_correction", sa.Column("renumber", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    with op.batch_alter_table("segmentation") as table:
        table.add_column(sa.Column("indices", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("key", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("blind", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.create_unique_constraint("segmentation_key", ["key"])
    op.execute(
        "UPDATE study SET segmentation_id = "
        "(SELECT a.segmentation_id FROM analysis a WHERE a.id = study.analysis_id)"
    )
    op.create_table(
        "reader_study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("centre_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("arms", sa.JSON(), nullable=False),
        sa.Column("repeat_days", sa.Integer(), nullable=True),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("frozen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.ForeignKeyConstraint(["centre_id"], ["centre.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_reader_study_project_id", "reader_study", ["project_id"])
    op.create_table(
        "reader_task",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reader_study_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(length=12), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("index_low", sa.Integer(), nullable=True),
        sa.Column("index_high", sa.Integer(), nullable=True),
        sa.Column("segmentation_id", sa.Integer(), nullable=True),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("comment", sa.String(length=500), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("verdict_by", sa.String(length=60), nullable=False),
        sa.Column("verdict_comment", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(["reader_study_id"], ["reader_study.id"]),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"]),
        sa.ForeignKeyConstraint(["segmentation_id"], ["segmentation.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("reader_study_id", "study_id", "user_id"):
        op.create_index(f"ix_reader_task_{column}", "reader_task", [column])
    op.create_table(
        "draft",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("base_id", sa.Integer(), nullable=True),
        sa.Column("task_id", sa.Integer(), nullable=True),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"]),
        sa.ForeignKeyConstraint(["base_id"], ["segmentation.id"]),
        sa.ForeignKeyConstraint(["task_id"], ["reader_task.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("study_id", "user_id", "task_id"),
    )
    op.create_index("ix_draft_study_id", "draft", ["study_id"])
    op.create_table(
        "draft_slice",
        sa.Column("draft_id", sa.Integer(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=False),
        sa.Column("labels", sa.LargeBinary(), nullable=False),
        sa.Column("measured", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["draft_id"], ["draft.id"]),
        sa.PrimaryKeyConstraint("draft_id", "slice_index"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("draft_slice")
    op.drop_table("draft")
    op.drop_table("reader_task")
    op.drop_table("reader_study")
    with op.batch_alter_table("segmentation") as table:
        table.drop_constraint("segmentation_key", type_="unique")
        table.drop_column("blind")
        table.drop_column("key")
        table.drop_column("indices")
    op.drop_column("level_correction", "renumber")
    op.drop_column("analysis", "correction_id")
    op.drop_column("study", "segmentation_id")
