"""The `holdfast` command."""


def main() -> None:
    """Run the command line."""
