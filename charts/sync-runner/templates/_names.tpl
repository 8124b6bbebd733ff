{{- define "sync-runner.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "sync-runner.secret" -}}
{{ .Values.credentials.secretName | default (include "sync-runner.name" .) }}
{{- end }}

{{- /* the Secret of an account: dict "root" $ "account" ACCOUNT */ -}}
{{- define "sync-runner.secret-of" -}}
{{ .account.secretName | default (printf "%s-%s" (include "sync-runner.name" .root) .account.name) }}
{{- end }}

{{- /* what selects the pods of one component of this release: dict "root" $ "name" NAME */ -}}
{{- define "sync-runner.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "sync-runner.labels" -}}
{{ include "sync-runner.selector" . }}
app.kubernetes.io/part-of: sync-runner
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}
