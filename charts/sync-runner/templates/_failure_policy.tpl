{{- /* Written by `make docs` from runner/errors.py */ -}}
{{- define "sync-runner.codes-without-retry" }}[2, 3, 8, 9]{{ end }}
