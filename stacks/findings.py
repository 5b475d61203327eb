"""Findings of cdk-nag that are accepted, each with its reason, beside the construct that has them."""

from collections.abc import Iterable, Mapping

from aws_cdk import Acknowledgment, CfnResource, Stack, Validations
from aws_cdk import aws_s3 as s3
from constructs import IConstruct

NO_TLS_HERE = "The local AWS has no TLS; it listens on the loopback interface only."
WAITING = "Models come and go, the prefix stays; a token says which task."
KEY_PREFIX = "S3 keys below one prefix; IAM has no other way to name them."


def accept(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept rules on one construct and what is below it: rule id → reason."""
    Validations.of(construct).acknowledge(*[Acknowledgment(id=rule, reason=why) for rule, why in reasons.items()])


def accept_resources(construct: IConstruct, resources: Iterable[str], *, why: str) -> None:
    """Accept wildcards in named resources: each must be named, so a new one is a new finding."""
    accept(construct, {f"AwsSolutions-IAM5[Resource::{resource}]": why for resource in resources})


def accept_objects(construct: IConstruct, bucket: s3.Bucket, keys: Iterable[str]) -> None:
    """Accept key prefixes of one bucket, written the way cdk-nag names them within and across stacks."""
    if Stack.of(construct) is Stack.of(bucket):
        named = f"<{logical_id(bucket)}.Arn>"
    else:
        stack = Stack.of(bucket)
        named = stack.resolve(stack.export_value(bucket.bucket_arn))["Fn::ImportValue"]
    accept_resources(construct, [f"{named}/{key}" for key in keys if "*" in key], why=KEY_PREFIX)


def logical_id(construct: IConstruct) -> str:
    """The CloudFormation id of the resource that an L2 construct is made of."""
    child = construct.node.default_child
    assert isinstance(child, CfnResource)  # noqa: S101 - L2 constructs have one
    resolved: str = Stack.of(construct).resolve(child.logical_id)
    return resolved
