"""Asks Route 53 what publishers do not: argv is the endpoint and what is to be done. What is listed comes as JSON."""

import json
import sys

import boto3

endpoint, action, *arguments = sys.argv[1:]
client = boto3.client(
    "route53",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="tests",
    aws_secret_access_key="tests",
)
if action == "create-zone":
    zone = client.create_hosted_zone(Name=arguments[0], CallerReference=arguments[0])
    print(json.dumps(zone["HostedZone"]["Id"].split("/")[-1]))
elif action == "put":
    zone, name, kind, *values = arguments
    records = [{"Value": value} for value in values]
    record_set = {"Name": name, "Type": kind, "TTL": 300, "ResourceRecords": records}
    change = {"Action": "CREATE", "ResourceRecordSet": record_set}
    client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})
    print("null")
elif action == "list":
    pages = client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=arguments[0])
    sets = [record_set for page in pages for record_set in page["ResourceRecordSets"]]
    print(json.dumps([[s["Name"], s["Type"], sorted(r["Value"] for r in s["ResourceRecords"])] for s in sets]))
else:
    sys.exit(f"no such action: {action}")
