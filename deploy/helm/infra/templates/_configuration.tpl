{{/* What is read from the configuration, which is infrad's own. */}}

{{/* infrad.yaml. */}}
{{- define "infra.configuration" -}}
{{- $epochFile := ternary "/var/lib/infrad-epoch/infrad.epoch" "none" .Values.persistence.epoch.enabled -}}
{{- $chosen := dict "dataDir" "/var/lib/infrad/data" "epochFile" $epochFile -}}
{{- toYaml (merge $chosen .Values.config) -}}
{{- end -}}

{{/* The port of an address such as [::]:8443. */}}
{{- define "infra.listeningPort" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* The port of a URL. */}}
{{- define "infra.urlPort" -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" (urlParse .).host) -}}
{{- default (ternary "80" "443" (hasPrefix "http:" .)) $port -}}
{{- end -}}

{{/* Every reference to a secret: [{at, text}]. */}}
{{- define "infra.references" -}}
{{- $config := .Values.config -}}
{{- $found := list -}}
{{- range $index, $provider := $config.providers -}}
{{- $found = append $found (dict "at" (printf "config.providers[%d].clientSecret" $index) "text" $provider.clientSecret) -}}
{{- end -}}
{{- range $index, $service := $config.services -}}
{{- range $number, $credential := $service.credentials -}}
{{- $found = append $found (dict "at" (printf "config.services[%d].credentials[%d]" $index $number) "text" $credential) -}}
{{- end -}}
{{- end -}}
{{- range $section := list "secrets" "keys" -}}
{{- range $index, $item := index $config $section -}}
{{- $settings := default dict $item.config -}}
{{- $at := printf "config.%s[%d].config" $section $index -}}
{{- range $key := list "token" "accessKeyID" "secretAccessKey" "sessionToken" -}}
{{- with index $settings $key -}}
{{- $found = append $found (dict "at" (printf "%s.%s" $at $key) "text" .) -}}
{{- end -}}
{{- end -}}
{{- with $settings.appRole -}}
{{- $found = append $found (dict "at" (printf "%s.appRole.roleID" $at) "text" .roleID) -}}
{{- $found = append $found (dict "at" (printf "%s.appRole.secretID" $at) "text" .secretID) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with ((($config.tls).acme).externalAccount).hmacKey -}}
{{- $found = append $found (dict "at" "config.tls.acme.externalAccount.hmacKey" "text" .) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The files of authorities, which infrad reads together with its configuration. */}}
{{- define "infra.authorities" -}}
{{- $found := list -}}
{{- range .Values.config.providers -}}
{{- with .caFile -}}{{- $found = append $found . -}}{{- end -}}
{{- end -}}
{{- range concat (default list .Values.config.secrets) .Values.config.keys -}}
{{- if ne .kind "kubernetes" -}}
{{- with (.config).caFile -}}{{- $found = append $found . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- with ((.Values.config.tls).acme).caFile -}}{{- $found = append $found . -}}{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* What the API server is needed for: {secrets: names in this namespace, token: whether the pod's own is used, server: whether the pod's own is}. */}}
{{- define "infra.kubernetesUse" -}}
{{- $backends := dict "kubernetes" dict -}}
{{- range .Values.config.secrets -}}
{{- if eq .kind "kubernetes" -}}
{{- $_ := set $backends .name (default dict .config) -}}
{{- end -}}
{{- end -}}
{{- $use := dict "secrets" list "token" false "server" false -}}
{{- $namespace := .Release.Namespace -}}
{{- range include "infra.references" . | fromJsonArray -}}
{{- $backend := regexFind "^[^:]*" .text -}}
{{- if hasKey $backends $backend -}}
{{- $settings := index $backends $backend -}}
{{- if not $settings.tokenFile -}}
{{- $_ := set $use "token" true -}}
{{- end -}}
{{- if not $settings.server -}}
{{- $_ := set $use "server" true -}}
{{- if eq (default $namespace $settings.namespace) $namespace -}}
{{- $object := regexFind "^[^/]*" (trimPrefix (printf "%s:" $backend) .text) -}}
{{- $_ := set $use "secrets" (append $use.secrets $object | uniq | sortAlpha) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $use -}}
{{- end -}}

{{/* Whether a native root key is configured: "true" or nothing. */}}
{{- define "infra.hasNativeKey" -}}
{{- range .Values.config.keys -}}
{{- if eq .kind "native" -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* What a schema cannot say. No message repeats what may be a secret. */}}
{{- define "infra.check" -}}
{{- $values := .Values -}}
{{- if and (eq .Release.Namespace "default") (not $values.allowDefaultNamespace) -}}
{{- fail "infra wants a namespace of its own: add `--namespace infra --create-namespace` (or set `allowDefaultNamespace: true`)" -}}
{{- end -}}
{{- $backends := list "env" "file" "kubernetes" -}}
{{- range $values.config.secrets -}}
{{- $backends = append $backends .name -}}
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
{{- $listeners := dict "config.listen" $values.config.listen "config.metrics.listen" $values.config.metrics.listen -}}
{{- with ($values.config.tls).redirectHTTP -}}
{{- $_ := set $listeners "config.tls.redirectHTTP" . -}}
{{- end -}}
{{- range $at, $address := $listeners -}}
{{- if lt (include "infra.listeningPort" $address | int) 1024 -}}
{{- fail (printf "%s must have a port from 1024 on, for infrad is not root: users see `service.port`" $at) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^(127[.]|\\[::1\\])" $values.config.metrics.listen -}}
{{- fail "config.metrics.listen must not be loopback: the probes come from outside of the pod" -}}
{{- end -}}
{{- if and (($values.config.tls).acme) (($values.config.tls).files) -}}
{{- fail "config.tls has `acme` and `files`: infrad takes one of them" -}}
{{- end -}}
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
{{- if and $values.ingress.enabled (not $values.ingress.annotations) -}}
{{- fail "ingress.annotations must ask the controller to pass TLS through, such as `haproxy.org/ssl-passthrough: \"true\"`: infrad cannot stand behind one that ends it" -}}
{{- end -}}
{{- end -}}
