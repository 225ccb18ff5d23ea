"""Fresh keys for a new portal, as lines for its environment: `python -m jitportal.new_keys`.

Which process gets which line stands in docs/operate.md.
"""

import secrets

from apps.core.ids import new_id
from apps.core.sealed import new_keypair, new_ring_key


def lines() -> list[str]:
    private, public = new_keypair()
    return [
        f"JITPORTAL_SECRET_KEY={secrets.token_urlsafe(48)}",
        f"JITPORTAL_PORTAL_ID={new_id()}",
        f"JITPORTAL_GRANT_PASSWORD_RING={new_ring_key()}",
        f"JITPORTAL_MANAGER_PUBLIC_KEY={public}",
        f"JITPORTAL_MANAGER_PRIVATE_KEY={private}",
    ]


if __name__ == "__main__":
    print("\n".join(lines()))
