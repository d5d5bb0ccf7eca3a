"""The stores of a Glance, where it has several."""

from __future__ import annotations

from glancearchive.endpoints.glance_api import GlanceApi
from glancearchive.errors import NotFoundError, NotGlanceError, UsageError


def require_store(api: GlanceApi, name: str) -> None:
    """Raises UsageError unless the Glance has a store of this name that data can be put into."""
    try:
        stores = api.about("/v2/info/stores").get("stores")
    except NotFoundError:
        raise UsageError(f"--store {name}: {api.label} has no stores to choose from") from None
    if not isinstance(stores, list) or not all(isinstance(store, dict) and "id" in store for store in stores):
        raise NotGlanceError(f"{api.label}: asking for its stores: the answer is not what a Glance gives")
    known = {str(store["id"]): store for store in stores}
    if name not in known:
        listed = ", ".join(
            key + "".join(f" ({word})" for word in ("default", "read-only") if _is(store.get(word)))
            for key, store in known.items()
        )
        raise UsageError(f"--store {name}: {api.label} has no such store; it has {listed or 'none'}")
    if _is(known[name].get("read-only")):
        raise UsageError(f"--store {name}: {api.label} only reads from this store")


def _is(value: object) -> bool:
    return str(value).lower() == "true"  # Glance gives strings
