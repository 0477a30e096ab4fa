{{/* Names and labels. There is one release in a namespace: its name is that of everything. */}}

{{- define "infra.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Given a list: the top, and the component. */}}
{{- define "infra.selector" -}}
app.kubernetes.io/name: infra
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "infra.labels" -}}
{{ include "infra.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "infra.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "infra.serviceAccount" -}}
{{- default (include "infra.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "infra.dataClaim" -}}
{{- default (printf "%s-data" (include "infra.name" .)) .Values.persistence.existingClaim -}}
{{- end -}}

{{- define "infra.rollbackGuardClaim" -}}
{{- default (printf "%s-rollback-guard" (include "infra.name" .)) .Values.persistence.rollbackGuard.existingClaim -}}
{{- end -}}

{{- define "infra.backupClaim" -}}
{{- default (printf "%s-backups" (include "infra.name" .)) .Values.backup.existingClaim -}}
{{- end -}}
