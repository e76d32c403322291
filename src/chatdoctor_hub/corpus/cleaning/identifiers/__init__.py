"""Names, numbers and addresses: finding them, replacing them, and measuring how well."""

__all__: list[str] = []
