{{/* What is refused although the schema takes it: what cannot work in a pod, and what would show a secret. */}}

{{/* All of it. No message repeats what may be a secret. */}}
{{- define "infra.check" -}}
{{- $values := .Values -}}
{{- if and (eq .Release.Namespace "default") (not $values.allowDefaultNamespace) -}}
{{- fail "infra wants a namespace of its own: add `--namespace infra --create-namespace` (or set `allowDefaultNamespace: true`)" -}}
{{- end -}}
{{- $backends := list "env" "file" "kubernetes" -}}
{{- $clusters := list "kubernetes" -}}
{{- range $values.config.secrets -}}
{{- $backends = append $backends .name -}}
{{- if eq .kind "kubernetes" -}}{{- $clusters = append $clusters .name -}}{{- end -}}
{{- end -}}
{{- $literal := list -}}
{{- range $values.env -}}
{{- if hasKey . "value" -}}{{- $literal = append $literal .name -}}{{- end -}}
{{- end -}}
{{- range include "infra.references" . | fromJsonArray -}}
{{- $backend := regexFind "^[^:]*:" .text | trimSuffix ":" -}}
{{- if not (has $backend $backends) -}}
{{- fail (printf "%s must be `BACKEND:NAME` with one of the backends %s: it is written into a ConfigMap, where no secret belongs" .at (join ", " $backends)) -}}
{{- end -}}
{{- $name := trimPrefix (printf "%s:" $backend) .text -}}
{{- if and (has $backend $clusters) (not (regexMatch "^[a-z0-9][a-z0-9.-]{0,252}/[A-Za-z0-9._-]{1,253}$" $name)) -}}
{{- fail (printf "%s must name a Secret and a key in it, such as `%s:infra-okta/clientSecret`" .at $backend) -}}
{{- end -}}
{{- if and (eq $backend "env") (not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*$" $name)) -}}
{{- fail (printf "%s must name a variable after `env:`, such as `env:OKTA_CLIENT_SECRET`" .at) -}}
{{- end -}}
{{- if and (eq $backend "file") (not (hasPrefix "/" $name)) -}}
{{- fail (printf "%s must have an absolute path after `file:`, such as `file:/run/secrets/infra-files/okta`" .at) -}}
{{- end -}}
{{- if and (eq $backend "env") (has (trimPrefix "env:" .text) $literal) -}}
{{- fail (printf "%s reads a variable that `env` writes out: take it from a Secret, with `valueFrom: {secretKeyRef: {…}}`" .at) -}}
{{- end -}}
{{- end -}}
{{- range $index, $key := $values.config.keys -}}
{{- $path := ($key.config).path -}}
{{- if and (eq $key.kind "native") (ne $path "/run/secrets/infra/root.key") -}}
{{- fail (printf "config.keys[%d].config.path must be /run/secrets/infra/root.key, where `rootKey` puts the key" $index) -}}
{{- end -}}
{{- end -}}
{{- include "infra.checkDatabase" . -}}
{{- include "infra.checkListeners" . -}}
{{- include "infra.checkCertificates" . -}}
{{- include "infra.checkPaths" . -}}
{{- if $values.backup.enabled -}}
{{- $secretMounts := list -}}
{{- range $values.mounts -}}
{{- if .secretName -}}{{- $secretMounts = append $secretMounts (printf "%s/" .path) -}}{{- end -}}
{{- end -}}
{{- range include "infra.authorities" . | fromJsonArray -}}
{{- $file := . -}}
{{- range $secretMounts -}}
{{- if hasPrefix . $file -}}
{{- fail (printf "%s is in a mount of a Secret, which the backup's pod is not given: keep authorities in a ConfigMap, for they are public" $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (include "infra.hasNativeKey" .) (not $values.rootKey.secretName) -}}
{{- fail "rootKey.secretName must name the Secret that holds the native root key of `config.keys`" -}}
{{- end -}}
{{- range $section := list "secrets" "keys" -}}
{{- range $index, $item := index $values.config $section -}}
{{- $login := (default dict $item.config).kubernetes -}}
{{- if and (eq $item.kind "vault") $login (not $login.tokenFile) -}}
{{- fail (printf "config.%s[%d].config.kubernetes.tokenFile is missing: the pod has no token of its own. Add one to `serviceAccount.tokens`, such as `{path: vault, audience: vault}`, and name it: /run/secrets/infra-tokens/vault" $section $index) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.restore.file (not (or $values.backup.enabled $values.backup.existingClaim)) -}}
{{- fail "restore.file is a file of the backup volume: set `backup.enabled`, or `backup.existingClaim`" -}}
{{- end -}}
{{- if and $values.newStore $values.restore.file -}}
{{- fail "newStore and restore.file exclude each other: a restore needs no new store" -}}
{{- end -}}
{{- if and $values.newStore (not $values.persistence.rollbackGuard.enabled) -}}
{{- fail "newStore has no use without persistence.rollbackGuard.enabled: infrad makes a new store on an empty volume by itself" -}}
{{- end -}}
{{- if and $values.acceptRollback $values.newStore -}}
{{- fail "acceptRollback and newStore exclude each other: older data is no new store" -}}
{{- end -}}
{{- if and $values.acceptRollback $values.restore.file -}}
{{- fail "acceptRollback and restore.file exclude each other: a restore revokes all sessions already" -}}
{{- end -}}
{{- if and $values.acceptRollback (not $values.persistence.rollbackGuard.enabled) -}}
{{- fail "acceptRollback has no use without persistence.rollbackGuard.enabled: infrad notices older data only with it" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.annotations) -}}
{{- fail "ingress.annotations must ask the controller to pass TLS through, such as `haproxy.org/ssl-passthrough: \"true\"`: infrad cannot stand behind one that ends it" -}}
{{- end -}}
{{- end -}}

{{/* What several pods need, and what has no use with a database. */}}
{{- define "infra.checkDatabase" -}}
{{- $values := .Values -}}
{{- $database := $values.config.database -}}
{{- if and (gt (int $values.replicas) 1) (not $database) -}}
{{- fail (printf "replicas is %d, and a store on a volume has one writer: let the pods share a PostgreSQL database, with `config.database` (docs/several-daemons.md), or set `replicas: 1`" (int $values.replicas)) -}}
{{- end -}}
{{- if $database -}}
{{- range $at, $value := dict "persistence.existingClaim" $values.persistence.existingClaim "persistence.rollbackGuard.enabled" $values.persistence.rollbackGuard.enabled "newStore" $values.newStore "acceptRollback" $values.acceptRollback "backup.enabled" $values.backup.enabled "restore.file" $values.restore.file -}}
{{- if $value -}}
{{- fail (printf "%s has no use with config.database, because the pods keep no data: back up and restore the database itself" $at) -}}
{{- end -}}
{{- end -}}
{{- if ($values.config.audit).file -}}
{{- fail "config.audit.file cannot be used with config.database: the pods keep no files, so the audit log would be deleted with its pod" -}}
{{- end -}}
{{- range $index, $host := $database.hosts -}}
{{- if hasPrefix "/" $host -}}
{{- fail (printf "config.database.hosts[%d] is the directory of a Unix socket, which no pod has: write a name or an address, such as db1.internal:5433" $index) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where infrad listens, and where users find it. */}}
{{- define "infra.checkListeners" -}}
{{- $config := .Values.config -}}
{{- $listeners := dict "config.listen" $config.listen "config.metrics.listen" $config.metrics.listen -}}
{{- with ($config.tls).redirectHTTP -}}
{{- $_ := set $listeners "config.tls.redirectHTTP" . -}}
{{- end -}}
{{- range $at, $address := $listeners -}}
{{- $port := include "infra.listeningPort" $address -}}
{{- if lt ($port | int) 1024 -}}
{{- fail (printf "%s must have a port from 1024 on, for infrad is not root: users see `service.port`" $at) -}}
{{- end -}}
{{- if not (regexMatch "^(0[.]0[.]0[.]0|\\[[0:]+\\]):[0-9]+$" $address) -}}
{{- fail (printf "%s must be every address of the pod, `[::]:%s`: Service and probes come from outside of it, to an address that is not known beforehand, and never to loopback" $at $port) -}}
{{- end -}}
{{- end -}}
{{- /* Elsewhere something in front has a port of its own: a node, a controller, a gateway. */ -}}
{{- if eq .Values.service.type "LoadBalancer" -}}
{{- $published := toString (int .Values.service.port) -}}
{{- range $index, $url := $config.publicURLs -}}
{{- if ne (include "infra.urlPort" $url) $published -}}
{{- fail (printf "config.publicURLs[%d] has port %s, and the load balancer is at `service.port`, %s: write the same. Where something in front maps ports, make `service.type` ClusterIP or NodePort" $index (include "infra.urlPort" $url) $published) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where certificates come from. */}}
{{- define "infra.checkCertificates" -}}
{{- $acme := (.Values.config.tls).acme -}}
{{- if and $acme ((.Values.config.tls).files) -}}
{{- fail "config.tls has `acme` and `files`: infrad takes one of them" -}}
{{- end -}}
{{- /* A public authority validates from addresses that it does not tell. One with a `caFile` may be among those that are let in. */ -}}
{{- if and $acme (not $acme.caFile) -}}
{{- if and .Values.networkPolicy.enabled .Values.networkPolicy.from -}}
{{- fail "networkPolicy.from keeps out the authority of config.tls.acme, which validates from anywhere: leave it empty, or have the certificate made elsewhere and name it in `config.tls.files`" -}}
{{- end -}}
{{- if and (eq .Values.service.type "LoadBalancer") .Values.service.loadBalancerSourceRanges -}}
{{- fail "service.loadBalancerSourceRanges keeps out the authority of config.tls.acme, which validates from anywhere: leave it empty, or have the certificate made elsewhere and name it in `config.tls.files`" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where files are mounted: apart from each other, for nothing can be laid into what is read-only, and what is above hides it. */}}
{{- define "infra.checkPaths" -}}
{{- $taken := list "/etc/infra" "/var/lib/infrad" "/var/lib/infrad-rollback-guard" "/tmp" "/backups" .Values.image.program -}}
{{- $taken = concat $taken (list "/run/secrets/infra/root.key" "/run/secrets/infra-tokens" "/var/run/secrets/kubernetes.io") -}}
{{- range $section := list "mounts" "privateFiles" -}}
{{- range $index, $item := index $.Values $section -}}
{{- $path := clean $item.path -}}
{{- range $taken -}}
{{- if or (hasPrefix (printf "%s/" (trimSuffix "/" $path)) (printf "%s/" .)) (hasPrefix (printf "%s/" .) $path) -}}
{{- fail (printf "%s[%d].path is at, above or below %s, which the pod has already: choose a path apart from it, such as /etc/infra-tls for a folder and /run/secrets/infra-files/NAME for a file" $section $index .) -}}
{{- end -}}
{{- end -}}
{{- $taken = append $taken $path -}}
{{- end -}}
{{- end -}}
{{- end -}}
