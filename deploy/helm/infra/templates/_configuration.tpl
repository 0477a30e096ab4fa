{{/* What is read from the configuration, which is infrad's own. */}}

{{/* infrad.yaml. */}}
{{- define "infra.configuration" -}}
{{- $rollbackGuardFile := ternary "/var/lib/infrad-rollback-guard/infrad.rollback-guard" "none" .Values.persistence.rollbackGuard.enabled -}}
{{- $chosen := dict "dataDir" "/var/lib/infrad/data" "rollbackGuardFile" $rollbackGuardFile -}}
{{- toYaml (merge $chosen .Values.config) -}}
{{- end -}}

{{/* The port of an address such as [::]:8443. */}}
{{- define "infra.listeningPort" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* The port of a server of `config.database`, such as db1.internal or [fd00::1]:5433. */}}
{{- define "infra.databasePort" -}}
{{- default "5432" (regexFind "[0-9]+$" (regexFind ":[0-9]+$" .)) -}}
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
{{- with ($config.database).password -}}
{{- $found = append $found (dict "at" "config.database.password" "text" .) -}}
{{- end -}}
{{- with ((($config.tls).acme).externalAccountBinding).hmacKey -}}
{{- $found = append $found (dict "at" "config.tls.acme.externalAccountBinding.hmacKey" "text" .) -}}
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
