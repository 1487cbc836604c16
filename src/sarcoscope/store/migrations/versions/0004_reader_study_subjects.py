"""What a reader study begins from is kept; reader studies of before have no row and go on as they did."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "reader_study_subject",
        sa.Column("reader_study_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("analysis_id", sa.Integer(), nullable=False),
        sa.Column("segmentation_id", sa.Integer(), nullable=True),
        sa.Column("levels", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["reader_study_id"], ["reader_study.id"]),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.ForeignKeyConstraint(["analysis_id"], ["analysis.id"]),
        sa.ForeignKeyConstraint(["segmentation_id"], ["segmentation.id"]),
        sa.PrimaryKeyConstraint("reader_study_id", "study_id"),
    )
    op.create_index("ix_reader_study_subject_study_id", "reader_study_subject", ["study_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("reader_study_subject")
