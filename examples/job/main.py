"""A job: does its work, says so, and ends. The kit calls it COMPLETED, which is healthy."""


def main() -> None:
    """Count to a million."""
    print(f"the sum is {sum(range(1_000_001))}")


if __name__ == "__main__":
    main()
