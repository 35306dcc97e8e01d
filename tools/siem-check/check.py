"""Checks lines of an export on the standard input: check.py ocsf VERSION | otlp. Prints one JSON object; exit 1: a line is not valid."""
import collections
import json
import re
import sys


def compilable(schema):
    """The schema without patterns that the validator cannot compile: it turns each $ of them into \\Z."""
    if isinstance(schema, list):
        return [compilable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: compilable(value) for name, value in schema.items() if name != "pattern" or not isinstance(value, str) or compiles(value)}


def compiles(pattern):
    try:
        re.compile(pattern.replace("$", r"\Z"))
        return True
    except re.error:
        return False


def ocsf(version):
    import fastjsonschema
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
    checks = {}

    def check(event):
        profiles = tuple(event["metadata"].get("profiles", []))
        key = (event["class_uid"], profiles)
        if key not in checks:
            name = schema.lookup_class_name_from_uid(event["class_uid"])
            checks[key] = fastjsonschema.compile(compilable(schema.get_class_schema(name, list(profiles))))
        checks[key](event)
        return event["class_uid"]

    return check


def otlp():
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    def check(value):
        request = json_format.ParseDict(value, ExportLogsServiceRequest(), ignore_unknown_fields=False)
        back = ExportLogsServiceRequest.FromString(request.SerializeToString())
        (resource,) = back.resource_logs
        (scope,) = resource.scope_logs
        (record,) = scope.log_records
        attributes = {one.key: one.value for one in record.attributes}
        return [attributes["caisson.index"].int_value, record.time_unix_nano, record.severity_number, record.event_name, record.body.string_value]

    return check


def main():
    check = ocsf(sys.argv[2]) if sys.argv[1] == "ocsf" else otlp()
    found = []
    for at, line in enumerate(sys.stdin):
        try:
            found.append(check(json.loads(line)))
        except Exception as error:  # whatever a validator raises
            print(json.dumps({"line": at, "error": f"{type(error).__name__}: {error}"[:2000]}))
            sys.exit(1)
    counts = collections.Counter(found) if sys.argv[1] == "ocsf" else {}
    print(json.dumps({"lines": len(found), "classes": {str(uid): count for uid, count in counts.items()}, "records": found if sys.argv[1] == "otlp" else []}))


main()
