{{- /* the runner's pod, for the CronJob and for `helm test`: dict "root" $ "command" COMMAND "policy" restartPolicy */ -}}
{{- define "sync-runner.pod" -}}
{{- $name := include "sync-runner.name" .root }}
{{- $shards := and .root.Values.shards (eq .command "run") }}
{{- with .root.Values }}
restartPolicy: Never
serviceAccountName: {{ $name }}
automountServiceAccountToken: {{ .state.tokenSecret.enabled }}
enableServiceLinks: false # a Service of this name would put SYNC_RUNNER_PORT into the environment
terminationGracePeriodSeconds: {{ .terminationGracePeriodSeconds }}
securityContext: {{- toYaml .podSecurityContext | nindent 2 }}
{{- with .imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
containers:
  - name: sync-runner
    image: {{ printf "%s:%s" .image.repository (.image.tag | default $.root.Chart.AppVersion) }}
    imagePullPolicy: {{ .image.pullPolicy }}
    args: [{{ $.command }}, --config, /etc/sync-runner/runner.yaml]
    terminationMessagePath: /dev/termination-log # one line: code, meaning, what failed first
    terminationMessagePolicy: FallbackToLogsOnError
    env: {{- include "sync-runner.env" (dict "root" $.root "shards" $shards "command" $.command) | nindent 6 }}
    resources: {{- toYaml .resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      - name: config
        mountPath: /etc/sync-runner
        readOnly: true
      - name: credentials
        mountPath: /run/secrets/sync-runner
        readOnly: true
      - name: state
        mountPath: /var/lib/sync-runner
        {{- if and $shards .state.volume.enabled (not .state.postgresql.enabled) }}
        subPathExpr: shard-$(JOB_COMPLETION_INDEX) # a ledger of its own for each shard
        {{- end }}
      {{- if .state.postgresql.enabled }}
      - name: database
        mountPath: /run/secrets/sync-runner-database
        readOnly: true
      {{- end }}
      {{- with .extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ $name }}
  - name: credentials
    {{- include "sync-runner.credentials" $.root | nindent 4 }}
  {{- if .state.postgresql.enabled }}
  - name: database
    secret:
      secretName: {{ .state.postgresql.secretName | default (printf "%s-database" $name) }}
      defaultMode: 0440
      optional: true # without it the runner says at once that the database refuses it
  {{- end }}
  - name: state
    {{- if and .state.volume.enabled (not .state.postgresql.enabled) }}
    persistentVolumeClaim:
      claimName: {{ .state.volume.existingClaim | default (printf "%s-state" $name) }}
    {{- else }}
    emptyDir:
      sizeLimit: 64Mi
    {{- end }}
  {{- with .extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "sync-runner.env" -}}
{{- with .root.Values }}
- name: SYNC_RUNNER_STATE__DIR # a directory of the runner's own: every user may write an emptyDir itself
  value: /var/lib/sync-runner/state
{{- if eq $.command "run" }}
- name: SYNC_RUNNER_RUN__KEY # a further try of the Job runs only what the tries before it did not complete
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['batch.kubernetes.io/job-name']
{{- end }}
{{- if .state.postgresql.enabled }}
- name: SYNC_RUNNER_STATE__URL
  value: {{ .state.postgresql.url }}
- name: SYNC_RUNNER_STATE_PASSWORD_FILE
  value: /run/secrets/sync-runner-database/password
{{- end }}
{{- if .state.tokenSecret.enabled }}
- name: SYNC_RUNNER_STATE__KUBERNETES_SECRET
  value: {{ include "sync-runner.name" $.root }}-session
{{- end }}
{{- if .pushgateway.enabled }}
- name: SYNC_RUNNER_METRICS__PUSHGATEWAY__URL
  value: http://{{ include "sync-runner.name" $.root }}-pushgateway:9091
{{- end }}
{{- if $.shards }}
- name: SYNC_RUNNER_SHARDS
  value: {{ .shards | quote }}
# As the Job would set it; named here, so that the mount of `state` can use it.
- name: JOB_COMPLETION_INDEX
  valueFrom:
    fieldRef:
      fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
{{- end }}
{{- with .env }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* optional: without it the pod would wait for a Secret in silence; the runner says what is missing */ -}}
{{- define "sync-runner.credentials" -}}
{{- if .Values.accounts -}}
projected:
  defaultMode: 0440
  sources:
    {{- range .Values.accounts }}
    - secret:
        name: {{ include "sync-runner.secret-of" (dict "root" $ "account" .) }}
        optional: true
        items:
          {{- $account := .name }}
          {{- range $.Values.externalSecrets.properties }}
          - { key: {{ . }}, path: {{ $account }}/{{ . }} }
          {{- end }}
    {{- end }}
{{- else -}}
secret:
  secretName: {{ include "sync-runner.secret" . }}
  defaultMode: 0440
  optional: true
{{- end }}
{{- end }}
