"""Checks the chart: what it renders, what it refuses, and its page. tests/helm/helm.rs runs it, one part at a time.

check.py PART REPOSITORY TOOLS INFRAD: exits with 0 on success, otherwise with 1 and the fault.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

part, repository, tools, infrad = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
chart = repository / "deploy/helm/infra"
combinations = sorted((chart / "ci").glob("*-values.yaml"))
validator = Path(sys.executable).with_name("kubernetes-validate")
# One call takes about a second, but much longer on a busy machine.
LIMIT = 150


def run(*command, **more):
    command = [str(word) for word in command]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL, **more)


def helm(verb, *arguments):
    name = [] if verb == "lint" else ["infra"]
    return run(tools / "helm", verb, *name, chart, *arguments)


def render(*values, more=()):
    files = [word for file in values for word in ("--values", file)]
    rendered = helm("template", "--namespace", "infra", *files, *more)
    assert rendered.returncode == 0, f"{values}: {rendered.stderr}"
    return rendered.stdout


def manifests(text):
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


def configuration(documents):
    return next(document["data"]["infrad.yaml"] for document in of_kind(documents, "ConfigMap"))


def pods(documents):
    for document in documents:
        if document["kind"] == "CronJob":
            yield document, document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif document["kind"] in ("Deployment", "Job"):
            yield document, document["spec"]["template"]["spec"]


def validate(text):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        return run(validator, "--strict", "-k", "1.35", file.name)


def infrad_check(text):
    """Runs `infrad check` on a rendered configuration, with the files that it reads created in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for mount in ("infra-ca", "infra-tls", "infra-cluster"):
            (folder / mount).mkdir()
        made = run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", "/CN=infra.example.com", "-addext", "subjectAltName=DNS:infra.example.com",
            "-addext", "basicConstraints=critical,CA:false",
            "-keyout", folder / "infra-tls/tls.key", "-out", folder / "infra-tls/tls.crt",
        )
        assert made.returncode == 0, made.stderr
        made = run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", "/CN=authority", "-keyout", folder / "ca.key", "-out", folder / "infra-ca/ca.crt",
        )
        assert made.returncode == 0, made.stderr
        file = folder / "infrad.yaml"
        file.write_text(text.replace("/etc/infra-", f"{folder}/infra-"))
        return run(infrad, "check", "--config", file)


def lint():
    assert len(combinations) >= 8
    for values in combinations:
        linted = helm("lint", "--strict", "--namespace", "infra", "--values", values)
        assert linted.returncode == 0, f"{values.name}: {linted.stdout}{linted.stderr}"
    version = re.search(r'(?m)^version = "(.*)"', (repository / "Cargo.toml").read_text()).group(1)
    described = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert described["version"] == described["appVersion"] == version


def package():
    """The published chart is complete and reproducible, and excludes the values of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for name in ("one", "two"):
            packed = run(repository / "deploy/packages", "--chart", Path(folder) / name)
            assert packed.returncode == 0, packed.stderr
            (file,) = (Path(folder) / name).iterdir()
            made.append(file.read_bytes())
        assert made[0] == made[1]
        version = yaml.safe_load((chart / "Chart.yaml").read_text())["version"]
        assert file.name == f"infra-{version}.tgz"
        names = run("tar", "--list", "--file", file).stdout.split()
        expected = {f"infra/{path.relative_to(chart)}" for path in chart.rglob("*") if path.is_file()}
        expected = {name for name in expected if not name.startswith(("infra/ci/", "infra/."))}
        assert {name for name in names if not name.endswith("/")} == expected, names
        values = chart / "ci/kubernetes-values.yaml"
        packed = run(tools / "helm", "template", "infra", file, "--namespace", "infra", "--values", values)
        assert packed.returncode == 0 and packed.stdout == render(values), packed.stderr


def kubernetes():
    for values in combinations:
        validated = validate(render(values))
        assert validated.returncode == 0, f"{values.name}: {validated.stdout}{validated.stderr}"
    # The validator must reject an invalid manifest.
    wrong = render(combinations[0]).replace("readOnlyRootFilesystem", "readOnlyRootFileSystem")
    assert validate(wrong).returncode != 0, "an unknown key was accepted"


def check():
    for values in combinations:
        checked = infrad_check(configuration(manifests(render(values))))
        # 1: it is understood, and this machine is no pod.
        assert checked.returncode in (0, 1), f"{values.name}: {checked.stdout}{checked.stderr}"


# The Secrets that each combination may read, and whether its pod has a token for the API server.
ROLES = {
    "acme": (["infra-acme", "infra-okta"], True),
    "aws": ([], False),
    "aws-ssm": (["infra-aws"], True),
    "existing-claims": (["infra-okta"], True),
    "kubernetes": (["infra-okta"], True),
    "monitored": (["infra-okta"], True),
    "no-network-policy": ([], False),
    "own-certificate": (["infra-keycloak"], True),
    "postgresql": (["infra-database", "infra-okta"], True),
    "postgresql-certificate": ([], False),
    "restore": (["infra-okta"], True),
    "services": (["infra-cluster-prod", "infra-okta", "infra-wiki"], True),
    "vault": ([], False),
    "vault-app-role": (["infra-vault"], True),
}


def roles():
    assert sorted(ROLES) == sorted(values.name.removesuffix("-values.yaml") for values in combinations)
    for name, (secrets, token) in ROLES.items():
        documents = manifests(render(chart / f"ci/{name}-values.yaml"))
        assert not of_kind(documents, "ClusterRole") + of_kind(documents, "ClusterRoleBinding")
        found = of_kind(documents, "Role")
        rules = [rule for role in found for rule in role["rules"]]
        expected = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get"]}]
        assert rules == (expected if secrets else []), f"{name}: {rules}"
        for document, pod in pods(documents):
            may = token and "backup" not in document["metadata"]["name"]
            assert pod["automountServiceAccountToken"] == may, f"{name}: {document['metadata']['name']}"


def restricted():
    for values in combinations:
        text = render(values)
        documents = manifests(text)
        for document, pod in pods(documents):
            where = f"{values.name}: {document['kind']}"
            of_pod = pod["securityContext"]
            assert of_pod["runAsNonRoot"] is True and of_pod["runAsUser"] == of_pod["runAsGroup"] == 65532, where
            assert of_pod["fsGroup"] == 65532 and of_pod["fsGroupChangePolicy"] == "OnRootMismatch", where
            assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), where
            assert not any("hostPath" in volume for volume in pod["volumes"]), where
            for container in pod["containers"] + pod.get("initContainers", []):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "runAsNonRoot": True,
                    "capabilities": {"drop": ["ALL"]},
                }, where
                names = {mount["name"] for mount in container["volumeMounts"]}
                assert names <= {volume["name"] for volume in pod["volumes"]}, where
        (deployment,) = of_kind(documents, "Deployment")
        if "database" not in yaml.safe_load(configuration(documents)):
            assert deployment["spec"]["strategy"] == {"type": "Recreate"}, values.name
            assert deployment["spec"]["replicas"] == (0 if values.name.startswith("restore") else 1), values.name
            assert not of_kind(documents, "PodDisruptionBudget"), values.name
        pod = deployment["spec"]["template"]["spec"]
        kinds = {key["kind"] for key in yaml.safe_load(configuration(documents))["keys"]}
        mounts = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "root-key"]
        assert len(mounts) == ("native" in kinds), values.name
        for mount in mounts:
            assert mount["mountPath"] == "/run/secrets/infra/root.key" and mount["readOnly"], values.name
            assert "defaultMode: 0400" in text, values.name
        # The backup's pod mounts no secret.
        for job in of_kind(documents, "CronJob"):
            job = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            assert not any("secret" in volume for volume in job["volumes"]), values.name
            assert job["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"], values.name


def secrets():
    for values in combinations:
        text = render(values)
        assert not of_kind(manifests(text), "Secret") and "plaintext:" not in text, values.name
    for reference in ("plaintext:canary-5b1d0c", "canary-5b1d0c", "canary:5b1d0c"):
        refused = helm(
            "template", "--namespace", "infra", "--values", chart / "ci/kubernetes-values.yaml",
            "--set", f"config.providers[0].clientSecret={reference}",
        )
        assert refused.returncode != 0 and "no secret belongs" in refused.stderr, refused.stderr
        assert "5b1d0c" not in refused.stderr + refused.stdout, refused.stderr


ACME = ["config.tls.acme.domains[0]=infra.example.com"]
MOUNT = ["mounts[0].configMapName=a"]
PRIVATE_FILE = ["privateFiles[0].secretName=a", "privateFiles[0].key=a"]

DATABASE = [f"config.database.{setting}" for setting in ("kind=postgresql", "hosts[0]=db", "name=infra", "user=infrad")]
NO_DATA = "has no use with config.database, because the pods keep no data"

REFUSED = [
    (["config.lisen=x"], "additional properties 'lisen' not allowed"),
    (["config.dataDir=/x"], "/config/dataDir"),
    (["replicas=0"], "/replicas"),
    (["replicas=2", "config.database=null"], "replicas is 2"),
    (["replicas=2"], "replicas is 2, and a store on a volume has one writer: let the pods share a PostgreSQL database, with `config.database`"),
    (["replicas=3", "config.database.kind=mysql"], "/config/database"),
    (["replicas=3", "config.database.kind=postgresql"], "missing properties 'hosts', 'name', 'user'"),
    (["image.repository="], "/image/repository"),
    (["image.digest=sha256:12"], "/image/digest"),
    (["config.publicURLs[0]=http://infra.example.com"], "/config/publicURLs/0"),
    (["config.metrics=null"], "missing property 'metrics'"),
    (["config.listen=0.0.0.0:443"], "config.listen must have a port from 1024 on"),
    (["config.metrics.listen=127.0.0.1:9464"], "config.metrics.listen must be every address of the pod, `[::]:9464`"),
    (["config.listen=127.0.0.1:8443"], "config.listen must be every address of the pod"),
    (["config.listen=[::1]:8443"], "config.listen must be every address of the pod"),
    (["config.listen=192.0.2.1:8443"], "config.listen must be every address of the pod"),
    (["config.tls.redirectHTTP=[::1]:8080"], "config.tls.redirectHTTP must be every address of the pod"),
    (["service.type=LoadBalancer", "config.publicURLs[0]=https://infra.example.com:8443"], "has port 8443, and the load balancer is at `service.port`, 443"),
    (["service.type=LoadBalancer", "service.port=8443"], "has port 443, and the load balancer is at `service.port`, 8443"),
    (MOUNT + ["mounts[0].path=/etc/infra/tls"], "mounts[0].path is at, above or below /etc/infra,"),
    (MOUNT + ["mounts[0].path=/etc//infra/"], "mounts[0].path is at, above or below /etc/infra,"),
    (MOUNT + ["mounts[0].path=/etc"], "mounts[0].path is at, above or below /etc/infra,"),
    (MOUNT + ["mounts[0].path=/"], "mounts[0].path is at, above or below /etc/infra,"),
    (MOUNT + ["mounts[0].path=/var/lib/infrad"], "mounts[0].path is at, above or below /var/lib/infrad,"),
    (MOUNT + ["mounts[0].path=/var/lib/infrad/data"], "mounts[0].path is at, above or below /var/lib/infrad,"),
    (MOUNT + ["mounts[0].path=/run/secrets"], "mounts[0].path is at, above or below /run/secrets/infra/root.key,"),
    (MOUNT + ["mounts[0].path=/tmp"], "mounts[0].path is at, above or below /tmp,"),
    (MOUNT + ["mounts[0].path=/usr/bin"], "mounts[0].path is at, above or below /usr/bin/infrad,"),
    (MOUNT + ["mounts[0].path=/a", "mounts[1].path=/a/b", "mounts[1].secretName=b"], "mounts[1].path is at, above or below /a,"),
    (PRIVATE_FILE + ["privateFiles[0].path=/etc/infra/okta"], "privateFiles[0].path is at, above or below /etc/infra,"),
    (MOUNT + PRIVATE_FILE + ["mounts[0].path=/a", "privateFiles[0].path=/a/b"], "privateFiles[0].path is at, above or below /a,"),
    (ACME + ["networkPolicy.from[0].ipBlock.cidr=192.0.2.0/24"], "networkPolicy.from keeps out the authority of config.tls.acme"),
    (ACME + ["service.type=LoadBalancer", "service.loadBalancerSourceRanges[0]=192.0.2.0/24"], "service.loadBalancerSourceRanges keeps out the authority"),
    (["rootKey.secretName="], "rootKey.secretName must name the Secret"),
    (["config.keys[0].kind=native", "config.keys[0].config.path=/var/lib/infrad/root.key"], "must be /run/secrets/infra/root.key"),
    (["ingress.enabled=true"], "pass TLS through"),
    (["restore.file=x"], "set `backup.enabled`"),
    (["newStore=yes"], "/newStore"),
    (["newStore=true"], "newStore has no use without persistence.rollbackGuard.enabled"),
    (["acceptRollback=yes"], "/acceptRollback"),
    (["acceptRollback=true"], "acceptRollback has no use without persistence.rollbackGuard.enabled"),
    (["acceptRollback=true", "newStore=true", "persistence.rollbackGuard.enabled=true"], "acceptRollback and newStore exclude each other"),
    (["acceptRollback=true", "restore.file=x", "backup.enabled=true"], "acceptRollback and restore.file exclude each other"),
    (["newStore=true", "restore.file=x", "backup.enabled=true"], "newStore and restore.file exclude each other"),
    (["config.tls.acme.domains[0]=infra.example.com", "config.tls.files.certificate=/a", "config.tls.files.privateKey=/b"], "one of them"),
    (["config.providers[0].clientSecret=kubernetes:Infra_Okta/x"], "must name a Secret and a key in it"),
    (["config.providers[0].clientSecret=kubernetes:infra-okta"], "must name a Secret and a key in it"),
    (["config.providers[0].clientSecret=env:A-B"], "must name a variable"),
    (["config.providers[0].clientSecret=file:okta"], "must have an absolute path"),
    (["env[0].name=A", "env[0].value=x", "config.providers[0].clientSecret=env:A"], "take it from a Secret"),
    ([*DATABASE, "config.database.password=canary"], "config.database.password must be `BACKEND:NAME`"),
    ([*DATABASE, "config.database.password=kubernetes:infra-database"], "config.database.password must name a Secret and a key in it"),
    ([*DATABASE, "config.database.hosts[1]=/run/postgresql"], "config.database.hosts[1] is the directory of a Unix socket"),
    ([*DATABASE, "rootKey.secretName="], "rootKey.secretName must name the Secret"),
    ([*DATABASE, "config.keys[0].kind=native", "config.keys[0].config.path=/var/lib/infrad/root.key"], "must be /run/secrets/infra/root.key"),
    ([*DATABASE, "config.audit.file=/var/lib/infrad/audit.jsonl"], "config.audit.file cannot be used with config.database"),
    ([*DATABASE, "persistence.existingClaim=infra-data"], f"persistence.existingClaim {NO_DATA}"),
    ([*DATABASE, "persistence.rollbackGuard.enabled=true"], f"persistence.rollbackGuard.enabled {NO_DATA}"),
    ([*DATABASE, "backup.enabled=true"], f"backup.enabled {NO_DATA}"),
    ([*DATABASE, "restore.file=x"], f"restore.file {NO_DATA}"),
    ([*DATABASE, "newStore=true"], f"newStore {NO_DATA}"),
    ([*DATABASE, "acceptRollback=true"], f"acceptRollback {NO_DATA}"),
]


# Accepted neighbours of the refused values.
ACCEPTED = [
    DATABASE,
    [*DATABASE, "replicas=2", "config.database.password=env:DATABASE_PASSWORD"],
    ["config.listen=0.0.0.0:8443", "config.metrics.listen=0.0.0.0:9464"],
    # The proxy in front has its own port.
    ["config.publicURLs[0]=https://infra.example.com:30443", "service.type=NodePort"],
    ["config.publicURLs[0]=https://infra.example.com:8443"],
    ["config.publicURLs[0]=https://infra.example.com:8443", "service.type=LoadBalancer", "service.port=8443"],
    [*MOUNT, *PRIVATE_FILE, "mounts[0].path=/etc/infra-tls/", "privateFiles[0].path=/run/secrets/infra-files/a"],
    [*ACME, "networkPolicy.enabled=false", "networkPolicy.from[0].ipBlock.cidr=192.0.2.0/24"],
    [*ACME, *MOUNT, "mounts[0].path=/etc/infra-ca", "config.tls.acme.caFile=/etc/infra-ca/ca.crt", "networkPolicy.from[0].ipBlock.cidr=192.0.2.0/24"],
]


def settings(values):
    return [word for value in values for word in ("--set", value)]


def refused():
    values = chart / "ci/kubernetes-values.yaml"
    for chosen, message in REFUSED:
        answer = helm("template", "--namespace", "infra", "--values", values, *settings(chosen))
        assert answer.returncode != 0 and message in answer.stderr, f"{chosen}: {answer.stderr}"
    for chosen in ACCEPTED:
        answer = helm("template", "--namespace", "infra", "--values", values, *settings(chosen))
        assert answer.returncode == 0, f"{chosen}: {answer.stderr}"
    answer = helm("template", "--namespace", "default", "--values", values)
    assert answer.returncode != 0 and "--namespace infra" in answer.stderr, answer.stderr
    answer = helm("template", "--namespace", "default", "--values", values, "--set", "allowDefaultNamespace=true")
    assert answer.returncode == 0, answer.stderr


# TCP ports that each combination may connect to, apart from DNS.
PORTS = {
    "kubernetes": {443, 6443},
    "vault": {443, 8200},
    "aws": {443, 80},
    "own-certificate": {8443, 443, 6443},
    # 8443 for the self-check: the cluster resolves the daemon's names to its own pod.
    "acme": {443, 6443, 8443},
    "postgresql": {443, 6443, 5432, 5433},
    "postgresql-certificate": {443, 80, 5432},
}
OWN_PODS = {
    "podSelector": {
        "matchLabels": {
            "app.kubernetes.io/name": "infra", "app.kubernetes.io/instance": "infra", "app.kubernetes.io/component": "daemon",
        }
    }
}


def network():
    for name, ports in PORTS.items():
        documents = manifests(render(chart / f"ci/{name}-values.yaml"))
        daemon, backup = of_kind(documents, "NetworkPolicy")
        rules = daemon["spec"]["egress"]
        assert {port["port"] for port in rules[0]["ports"]} == {53}, name
        assert {port["port"] for rule in rules[1:] for port in rule["ports"]} == ports, f"{name}: {rules}"
        for rule in daemon["spec"]["ingress"]:
            if {"port": "metrics", "protocol": "TCP"} in rule["ports"]:
                labels = {"kubernetes.io/metadata.name": "monitoring"}
                assert rule["from"] == [{"namespaceSelector": {"matchLabels": labels}}], name
        assert "egress" not in backup["spec"] and "ingress" not in backup["spec"], name
        assert backup["spec"]["policyTypes"] == ["Ingress", "Egress"], name
    assert not of_kind(manifests(render(chart / "ci/no-network-policy-values.yaml")), "NetworkPolicy")
    # The daemon may reach itself at its listening port even if other rules are narrowed, but only if the self-check is
    # on.
    narrowed = ["networkPolicy.egress.acme.to[0].ipBlock.cidr=192.0.2.1/32", "config.listen=[::]:9443"]
    for chosen, expected in (
        ([], [{"ports": [{"port": 8443, "protocol": "TCP"}], "to": [OWN_PODS]}]),
        (narrowed, [{"ports": [{"port": 9443, "protocol": "TCP"}], "to": [OWN_PODS]}]),
        (["config.tls.acme.selfCheck=false"], []),
    ):
        policy, _ = of_kind(manifests(render(chart / "ci/acme-values.yaml", more=settings(chosen))), "NetworkPolicy")
        found = [rule for rule in policy["spec"]["egress"] if OWN_PODS in rule.get("to", [])]
        assert found == expected, f"{chosen}: {found}"
    # With its own CA and restricted callers, the daemon still accepts its own connections.
    chosen = ["config.tls.acme.caFile=/etc/infra-ca/ca.crt", "networkPolicy.from[0].ipBlock.cidr=192.0.2.0/24"]
    policy, _ = of_kind(manifests(render(chart / "ci/acme-values.yaml", more=settings(chosen))), "NetworkPolicy")
    assert policy["spec"]["ingress"][0]["from"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}, OWN_PODS], policy


def database():
    """With a database, any number of pods share it, keep no data, and replace each other one by one."""
    for name, replicas in (("postgresql", 3), ("postgresql-certificate", 1)):
        documents = manifests(render(chart / f"ci/{name}-values.yaml"))
        assert not of_kind(documents, "PersistentVolumeClaim"), name
        (deployment,) = of_kind(documents, "Deployment")
        spec = deployment["spec"]
        assert spec["replicas"] == replicas, name
        assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, name
        pod = spec["template"]["spec"]
        (data,) = [volume for volume in pod["volumes"] if volume["name"] == "data"]
        assert set(data) == {"name", "emptyDir"}, f"{name}: {data}"
        # Both containers use the same files, secrets and account.
        (container,), (create,) = pod["containers"], pod["initContainers"]
        assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}, name
        for part in ("image", "volumeMounts", "resources", "securityContext"):
            assert create[part] == container[part], f"{name}: {part}"
        assert container["command"] == ["/usr/bin/infrad", "serve"], name
        assert create["command"] == ["/usr/bin/infrad", "database", "create"], name
        assert yaml.safe_load(configuration(documents))["rollbackGuardFile"] == "none", name
        budgets = [budget["spec"] for budget in of_kind(documents, "PodDisruptionBudget")]
        spread = pod["topologySpreadConstraints"]
        if replicas == 1:
            # One pod may always be evicted.
            assert not budgets and [constraint["whenUnsatisfiable"] for constraint in spread] == ["DoNotSchedule"], name
            continue
        selector = {"matchLabels": spec["selector"]["matchLabels"]}
        assert budgets == [{"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}], name
        keys = [constraint["topologyKey"] for constraint in spread]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], name
        for constraint in spread:
            assert constraint["labelSelector"] == selector, name
            assert constraint["whenUnsatisfiable"] == "ScheduleAnyway", name
    values = chart / "ci/postgresql-values.yaml"
    notes_text = helm("install", "--namespace", "infra", "--values", values, "--dry-run=client").stdout.split("NOTES:")[1]
    assert "back up the database" in notes_text and "backup.enabled" not in notes_text, notes_text
    # Without a database, the default is what one replica is.
    values = chart / "ci/kubernetes-values.yaml"
    one = render(values, more=settings(["replicas=1"]))
    assert one == render(values) and "initContainers" not in one and "RollingUpdate" not in one, one


def keys():
    """The chart's schema ends with the definitions of infrad's own, as they are."""
    printed = run(infrad, "check", "--schema")
    assert printed.returncode == 0, printed.stderr
    file, start = chart / "values.schema.json", '  "definitions": {'
    definitions = printed.stdout[printed.stdout.index(start):]
    head, _, _ = file.read_text().partition(start)
    if os.environ.get("UPDATE"):
        file.write_text(head + definitions)
    assert file.read_text() == head + definitions, f"{file}: run the test with UPDATE=1"


def page():
    pages = ("docs/kubernetes-install.md", "docs/managed-kubernetes.md")
    text = "".join((repository / name).read_text() for name in pages)
    blocks = re.findall(r"(<!-- not run: [^\n]* -->\n)?```(sh|yaml)\n(.*?)```", text, re.DOTALL)
    values = [body for _, kind, body in blocks if kind == "yaml"]
    scripts = [body for marked, kind, body in blocks if kind == "sh" and not marked]
    assert len(values) >= 8 and len(scripts) >= 3
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "deploy").symlink_to(repository / "deploy")
        first = folder / "values.yaml"
        first.write_text(values[0])
        for body in values:
            more = folder / "more.yaml"
            more.write_text(body)
            rendered = render(first, more)
            validated = validate(rendered)
            assert validated.returncode == 0, f"{body}: {validated.stdout}{validated.stderr}"
            checked = infrad_check(configuration(manifests(rendered)))
            assert checked.returncode in (0, 1), f"{body}: {checked.stderr}"
        # No cluster is available: print what would be created.
        prelude = f"""set -euo pipefail
kubectl() {{ {tools}/kubectl "$@" --dry-run=client --output yaml; }}
helm() {{ if [[ $1 == upgrade ]]; then shift 2; set -- template "$@"; fi; {tools}/helm "$@"; }}
"""
        canaries = {name: "canary-5b1d0c" for name in ("OKTA_CLIENT_SECRET", "DATABASE_PASSWORD")}
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **canaries}
        (folder / "ca.crt").write_text("the authority of the database")
        def follow(script):
            ran = run("bash", "-c", prelude + script, cwd=folder, env=environment)
            assert "canary" not in ran.stdout + ran.stderr, script
            return ran

        key, made = folder / "root.key", None
        for script in scripts:
            ran = follow(script)
            assert ran.returncode == 0, f"{script}: {ran.stdout}{ran.stderr}"
            if made is None and key.exists():
                made = key.read_bytes()
                assert len(made) == 32 and key.stat().st_mode & 0o077 == 0
                # Running the commands again keeps the key.
                assert follow(script).returncode != 0 and key.read_bytes() == made, script
        assert made and not any((folder / name).exists() for name in ("root.key", "clientSecret", "password"))


def restore():
    """Kubernetes never changes a Job's pod, so a different pod gets another Job name, which the notes show."""
    values = chart / "ci/restore-values.yaml"

    def job(*chosen):
        (found,) = of_kind(manifests(render(values, more=settings(chosen))), "Job")
        return found["metadata"]["name"], found["spec"]["template"]

    name, pod = job()
    assert job() == (name, pod)
    names = {name}
    for chosen in (
        "restore.file=another.backup", "restore.recovery=false", "image.digest=sha256:" + "a" * 64, "resources.limits.memory=1Gi",
        "config.limits.maxConnections=100", "rootKey.secretName=another", "priorityClassName=a", "persistence.rollbackGuard.enabled=true",
    ):
        another, other_pod = job(chosen)
        assert other_pod != pod and another not in names, f"{chosen}: {another}"
        names.add(another)
    # A value that does not affect the pod keeps the Job's name.
    assert job("backup.schedule=1 1 * * *") == (name, pod)
    notes_text = helm("install", "--namespace", "infra", "--values", values, "--dry-run=client").stdout.split("NOTES:")[1]
    assert f"attach --stdin --tty job/{name}\n" in notes_text, notes_text


def notes():
    notes_text = helm(
        "install", "--namespace", "infra", "--values", chart / "ci/kubernetes-values.yaml", "--dry-run=client"
    ).stdout.split("NOTES:")[1]
    for words in ("infra login infra.example.com --fingerprint sha256:", "infrad fingerprint", "There is no backup"):
        assert words in notes_text, notes_text
    assert "newStore" not in notes_text and "acceptRollback" not in notes_text, notes_text


def new_store():
    start_option("newStore", "--new-store")


def accept_rollback():
    start_option("acceptRollback", "--accept-rollback")


def start_option(value, option):
    """Once, and never by default."""
    values = chart / "ci/kubernetes-values.yaml"
    for chosen, words in (([], ["serve"]), ([f"{value}=true", "persistence.rollbackGuard.enabled=true"], ["serve", option])):
        more = settings(chosen)
        (deployment,) = of_kind(manifests(render(values, more=more)), "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["/usr/bin/infrad", *words], container["command"]
        told = helm("install", "--namespace", "infra", "--values", values, "--dry-run=client", *more).stdout
        assert (f"`{value}` is set" in told) == bool(chosen), told


try:
    {function.__name__: function for function in (
        lint, package, kubernetes, check, roles, restricted, secrets, refused, network, keys, page, restore, notes, new_store,
        accept_rollback, database,
    )}[part]()
except AssertionError as error:
    sys.exit(f"{part}: {error or 'see the traceback'}\n" + "".join(__import__("traceback").format_exc()))
