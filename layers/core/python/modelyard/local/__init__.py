"""The local AWS: MiniStack as a supervised process, and the real CDK CLI pointed at it."""
