{{/* The Job that restores. */}}

{{/* A Job's pod cannot be changed: whatever is in it makes another Job. */}}
{{- define "infra.restoreName" -}}
{{ include "infra.name" . }}-restore-{{ include "infra.restorePod" . | sha256sum | trunc 8 }}
{{- end -}}

{{- define "infra.restorePod" -}}
metadata:
  labels: {{- include "infra.labels" (list . "restore") | nindent 4 }}
  annotations:
    # With another configuration it is another job, which tries again.
    checksum/configuration: {{ include "infra.configuration" . | sha256sum }}
spec:
  restartPolicy: Never
  # As the daemon: the root key may be a service that the account opens.
  serviceAccountName: {{ include "infra.serviceAccount" . }}
  automountServiceAccountToken: {{ (include "infra.kubernetesUse" . | fromJson).token }}
  enableServiceLinks: false
  securityContext: {{- include "infra.podSecurityContext" . | nindent 4 }}
  {{- with include "infra.placement" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: restore
      image: {{ include "infra.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [{{ .Values.image.program | quote }}, restore, {{ printf "/backups/%s" .Values.restore.file | quote }}{{ if .Values.restore.recovery }}, --recovery{{ end }}]
      {{- if .Values.restore.recovery }}
      stdin: true
      stdinOnce: true
      tty: true
      {{- end }}
      {{- with include "infra.environment" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      resources: {{- toYaml .Values.resources | nindent 8 }}
      securityContext: {{- include "infra.securityContext" . | nindent 8 }}
      volumeMounts:
        {{- include "infra.volumeMounts" . | nindent 8 }}
        - {name: backups, mountPath: /backups, readOnly: true}
  volumes:
    {{- include "infra.volumes" . | nindent 4 }}
    - name: backups
      persistentVolumeClaim: {claimName: {{ include "infra.backupClaim" . }}}
{{- end -}}
