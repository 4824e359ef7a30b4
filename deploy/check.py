"""Checks deploy/: manifests against the Kubernetes schemas, and every command line in manifests,
compose file and Containerfiles against the programs' own help and the two ports.

    check.py FOLDER_OF_PROGRAMS
"""

import json
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

DEPLOY = pathlib.Path(__file__).parent
PROGRAMS = pathlib.Path(sys.argv[1])
KUBERNETES = "1.37"
PORTS = {"50051", "9090"}
faults = []


def check_manifest(place, manifest):
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        faults.append(f"{place}: {'.'.join(map(str, error.path))}: {error.message}")
    except kubernetes_validate.SchemaNotFoundError as error:
        faults.append(f"{place}: {error}")


def check_command(place, program, command):
    """`command` is a subcommand and its flags, as `--flag=value` or `--flag value`."""
    arguments = [program, *(part for part in command[:1] if not part.startswith("-")), "--help"]
    answer = subprocess.run(
        [PROGRAMS / program, *arguments[1:]], capture_output=True, text=True, timeout=60
    )
    if answer.returncode != 0:
        faults.append(f"{place}: `{' '.join(arguments)}` fails: {answer.stderr.strip()}")
    known = set(re.findall(r"--[a-z][a-z-]*", answer.stdout))
    for flag in (part.split("=")[0] for part in command if part.startswith("--")):
        if flag not in known:
            faults.append(f"{place}: {program} {command[0]} has no {flag}")
    check_ports(place, " ".join(command))


def check_ports(place, text):
    for port in re.findall(r":(\d{4,5})\b", text):
        if port not in PORTS:
            faults.append(f"{place}: port {port} is none of {sorted(PORTS)}")


def program_of(image):
    return {"lectern-teacher": "teacher-server", "lectern-student": "student-trainer"}[image]


def check_kubernetes():
    count = 0
    for path in sorted(DEPLOY.glob("kubernetes/*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            place = f"{path.relative_to(DEPLOY)}: {manifest['kind']} {manifest['metadata']['name']}"
            check_manifest(place, manifest)
            pod = manifest["spec"].get("template", {}).get("spec", {})
            for container in pod.get("containers", []):
                check_command(place, program_of(container["image"]), container["args"])
            # Wherever a manifest says `port`, it is one of them.
            for port in re.findall(r'"(?:containerPort|port)": (\d+)', json.dumps(manifest)):
                check_ports(place, f":{port}")
            count += 1
    return count


def check_compose():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        place = f"compose.yaml: {name}"
        check_command(place, program_of(service["image"]), service["command"])
        check_ports(place, " ".join(f":{port}" for port in service.get("ports", [])))
    return len(services)


def check_containerfiles():
    paths = sorted(DEPLOY.glob("Containerfile.*"))
    for path in paths:
        lists = {
            word: json.loads(value)
            for word, value in re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", path.read_text(), re.M)
        }
        program = pathlib.Path(lists["ENTRYPOINT"][0]).name
        check_command(path.name, program, lists["CMD"])
    return len(paths)


counts = check_kubernetes(), check_compose(), check_containerfiles()
for fault in faults:
    print(fault, file=sys.stderr)
if faults:
    sys.exit(1)
print("{} manifests, {} services and {} images are in order".format(*counts))
