"""What workers run for reports; apps.grants.tasks names it."""

from apps.grants.tasks import guarded
from apps.reports import building, bundles


@guarded
def build() -> None:
    """Evidence bundles that somebody waits for; and those go that were kept for long enough."""
    bundles.drop_old()
    building.build_wanted()
