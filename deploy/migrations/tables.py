"""Every owner's tables on the one MetaData: importing them is what declares them."""

import ingress.admin.handled
import ingress.admin.tables
import linker.tables
import workers.deliver.closed
import workers.deliver.copies
import workers.deliver.replay
import workers.deliver.resumed
import workers.deliver.tables
import workers.dispatch.tables
import workers.notice
import workers.runtime.lane
import workers.runtime.namespace
import workers.runtime.stops
from workers.runtime.database import metadata

__all__ = ["ingress", "linker", "metadata", "workers"]
