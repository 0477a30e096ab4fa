{{/* What the daemon's pod and those of backup and restore have in common. */}}

{{/* One user for all of them: the data directory and its control socket are for their owner alone. */}}
{{- define "infra.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# Volumes are given to this group when they are new. Never again: what infrad closed to the group would be opened to it.
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "infra.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "infra.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "infra.environment" -}}
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* All that the store is opened with. */}}
{{- define "infra.volumeMounts" -}}
- {name: configuration, mountPath: /etc/infra, readOnly: true}
- {name: data, mountPath: /var/lib/infrad}
- {name: temporary, mountPath: /tmp}
{{- if .Values.persistence.rollbackGuard.enabled }}
- {name: rollback-guard, mountPath: /var/lib/infrad-rollback-guard}
{{- end }}
{{- if include "infra.hasNativeKey" . }}
# As a single file: it is no link then, as infrad wants it. It belongs to root, and the pod's group may read it.
- {name: root-key, mountPath: /run/secrets/infra/root.key, subPath: root.key, readOnly: true}
{{- end }}
{{- range $index, $mount := .Values.mounts }}
- {name: mount-{{ $index }}, mountPath: {{ $mount.path | quote }}, readOnly: true}
{{- end }}
{{- range $index, $file := .Values.privateFiles }}
- {name: private-file-{{ $index }}, mountPath: {{ $file.path | quote }}, subPath: file, readOnly: true}
{{- end }}
{{- if .Values.serviceAccount.tokens }}
- {name: tokens, mountPath: /run/secrets/infra-tokens, readOnly: true}
{{- end }}
{{- end -}}

{{- define "infra.volumes" -}}
- name: configuration
  configMap: {name: {{ include "infra.name" . }}}
- name: data
  {{- if .Values.config.database }}
  # For the lock and the control socket.
  emptyDir: {sizeLimit: 1Gi}
  {{- else }}
  persistentVolumeClaim: {claimName: {{ include "infra.dataClaim" . }}}
  {{- end }}
- name: temporary
  emptyDir: {sizeLimit: 1Gi}
{{- if .Values.persistence.rollbackGuard.enabled }}
- name: rollback-guard
  persistentVolumeClaim: {claimName: {{ include "infra.rollbackGuardClaim" . }}}
{{- end }}
{{- if include "infra.hasNativeKey" . }}
- name: root-key
  secret:
    secretName: {{ .Values.rootKey.secretName }}
    defaultMode: 0400
    items: [{key: {{ .Values.rootKey.key | quote }}, path: root.key}]
{{- end }}
{{- range $index, $mount := .Values.mounts }}
- name: mount-{{ $index }}
  {{- if $mount.secretName }}
  secret: {secretName: {{ $mount.secretName }}, defaultMode: 0400}
  {{- else }}
  configMap: {name: {{ $mount.configMapName }}}
  {{- end }}
{{- end }}
{{- range $index, $file := .Values.privateFiles }}
- name: private-file-{{ $index }}
  secret:
    secretName: {{ $file.secretName }}
    defaultMode: 0400
    items: [{key: {{ $file.key | quote }}, path: file}]
{{- end }}
{{- with .Values.serviceAccount.tokens }}
- name: tokens
  projected:
    defaultMode: 0400
    sources:
      {{- range . }}
      - serviceAccountToken:
          path: {{ .path | quote }}
          audience: {{ .audience | quote }}
          expirationSeconds: {{ default 3600 .expirationSeconds }}
      {{- end }}
{{- end }}
{{- end -}}
