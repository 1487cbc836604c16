"""Receiver rules of a project."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("project", sa.Column("receiver_rules", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("project", "receiver_rules")
