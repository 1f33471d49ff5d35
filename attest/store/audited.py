"""What an auditor stores of each log: the last signed checkpoint it has verified."""

import sqlalchemy as sa

from attest.store import db

metadata = sa.MetaData()
db.register.to_metadata(metadata)
