{{/*
Names are fixed on purpose: the CRDs, the NICs and the pin directory exist once per cluster, so a second release must fail.
It does, because these names are in use.
*/}}

{{- define "xdp-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
app.kubernetes.io/name: xdp-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels that select the pods of a component: list $ "agent". */}}
{{- define "xdp-operator.selector" -}}
app.kubernetes.io/name: xdp-operator
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Reference of an image: list $ "agent". */}}
{{- define "xdp-operator.image" -}}
{{- $root := index . 0 }}
{{- $image := index $root.Values.image (index . 1) }}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* ADDRESS:PORT, with brackets around IPv6: list "::" 8080. */}}
{{- define "xdp-operator.address" -}}
{{- $address := index . 0 }}
{{- if contains ":" $address }}{{ $address = printf "[%s]" $address }}{{ end -}}
{{ $address }}:{{ index . 1 }}
{{- end }}

{{/* A probe of the pod's address, or of the listen address if it is a specific one: list 8081 "/healthz" "0.0.0.0". */}}
{{- define "xdp-operator.probe" -}}
{{- $address := index . 2 -}}
httpGet:
  path: {{ index . 1 }}
  port: {{ index . 0 }}
  {{- if not (has $address (list "0.0.0.0" "::")) }}
  host: {{ $address | quote }}
  {{- end }}
{{- end }}

{{/* Fails if metrics and probes of a component have the same port: list $ "agent". */}}
{{- define "xdp-operator.checkPorts" -}}
{{- $component := index (index . 0).Values (index . 1) }}
{{- if eq (int $component.port) (int $component.probePort) }}
{{- fail (printf "%[1]s.port and %[1]s.probePort are both %[2]d; set one of them to another port" (index . 1) (int $component.port)) }}
{{- end }}
{{- end }}

{{/* Arguments for metrics: list $ .Values.agent. */}}
{{- define "xdp-operator.metricsArgs" -}}
{{- $metrics := (index . 0).Values.metrics }}
{{- $component := index . 1 -}}
- --metrics-bind-address={{ include "xdp-operator.address" (list $component.listenAddress $component.port) }}
- --metrics-secure={{ $metrics.secure }}
{{- if and $metrics.secure $metrics.certificateSecret }}
- --metrics-cert-dir=/etc/xdp-operator/metrics
{{- end }}
{{- end }}

{{- define "xdp-operator.certificateMount" -}}
{{- if and .Values.metrics.secure .Values.metrics.certificateSecret -}}
- {name: metrics-certificate, mountPath: /etc/xdp-operator/metrics, readOnly: true}
{{- end }}
{{- end }}

{{- define "xdp-operator.certificateVolume" -}}
{{- if and .Values.metrics.secure .Values.metrics.certificateSecret -}}
- name: metrics-certificate
  # The operator's group may read the key. Nothing waits for a Secret that is missing.
  secret: {secretName: {{ .Values.metrics.certificateSecret | quote }}, defaultMode: 0440, optional: true}
{{- end }}
{{- end }}

{{/*
The token of a pod's service account, with the files that clients expect. The API server keeps a token that it mounts by itself
valid for a year; this one ends with its hour.
*/}}
{{- define "xdp-operator.tokenVolume" -}}
- name: token
  projected:
    sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{- define "xdp-operator.tokenMount" -}}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{/* Rules of those who let the API server decide about the readers of their metrics. */}}
{{- define "xdp-operator.reviewRules" -}}
{{- if .Values.metrics.secure -}}
# Whose token a scraper sends, and whether that account may read the metrics.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}
{{- end }}

{{/* The only destination of the operator and of the jobs, which find it by its address, without DNS: .Values.networkPolicy. */}}
{{- define "xdp-operator.toApiServer" -}}
{{- if .apiServer.ports -}}
egress:
- ports:
  {{- range .apiServer.ports }}
  - {protocol: TCP, port: {{ . }}}
  {{- end }}
  {{- with .apiServer.to }}
  to:
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Pod-level fields of all pods with the operator's image: the Deployment and the hooks. */}}
{{- define "xdp-operator.unprivilegedPod" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
enableServiceLinks: false
priorityClassName: {{ .Values.operator.priorityClassName | quote }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.operator.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "xdp-operator.unprivilegedContainer" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/*
The tool whose hooks are rendered: Helm, ArgoCD, None; or Manual, for jobs that run when they are applied.
Helm can read the cluster when it installs and upgrades, but not when a chart is only rendered. There, hooks would be ordinary
objects for most tools: the job that uninstalls the agents would run because it is applied.
*/}}
{{- define "xdp-operator.hooks" -}}
{{- if ne .Values.hooks "Auto" -}}
{{ .Values.hooks }}
{{- else if lookup "v1" "Namespace" "" "kube-system" -}}
Helm
{{- else -}}
None
{{- end -}}
{{- end }}

{{/* Annotations of a hook's object: list $ "pre-delete" "-10". A failed job stays until the next attempt. */}}
{{- define "xdp-operator.hook" -}}
{{- $hooks := include "xdp-operator.hooks" (index . 0) }}
{{- if eq $hooks "Helm" -}}
annotations:
  helm.sh/hook: {{ index . 1 }}
  helm.sh/hook-weight: {{ index . 2 | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- else if eq $hooks "ArgoCD" -}}
annotations:
  argocd.argoproj.io/hook: PreDelete
  argocd.argoproj.io/sync-wave: {{ index . 2 | quote }}
  argocd.argoproj.io/hook-delete-policy: BeforeHookCreation,HookSucceeded
{{- end }}
{{- end }}
