{{- define "tracer-agent.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tracer-agent.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "tracer-agent.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tracer-agent.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tracer-agent.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tracer-agent.labels" -}}
{{ include "tracer-agent.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tracer-agent.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tracer-agent.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tracer-agent.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The configuration file: what was said, and what the chart knows. */}}
{{- define "tracer-agent.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if not (or (hasKey $config "all") $config.pid $config.port $config.exe $config.cgroup $config.netns $config.container) }}
{{- $_ := set $config "all" true }}
{{- end }}
{{- $_ := set $config "exclude_exe" (append (default list $config.exclude_exe) "tracer-agent" | uniq) }}
{{- /* Of the host's first process: its files, control groups and network namespaces, without a mount. */}}
{{- $_ := set $config "host_root" "/proc/1/root" }}
{{- if .Values.metrics.enabled }}
{{- $here := printf "prometheus=%s:%d" .Values.metrics.address (int .Values.metrics.port) }}
{{- $_ := set $config "metrics" (append (default list $config.metrics) $here) }}
{{- end }}
{{- if .Values.queue.enabled }}
{{- $_ := set $config "queue_dir" "/var/lib/tracer-agent" }}
{{- $_ := set $config "queue_size" .Values.queue.size }}
{{- end }}
{{- if not .Values.kubernetes.enabled }}
{{- $_ := set $config "identity" "off" }}
{{- end }}
{{- if not .Values.breakpoints.enabled }}
{{- $_ := set $config "uprobes" "off" }}
{{- $_ := set $config "tls" "off" }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Those of docs/kernels.md, and the one for reading what belongs to other users. */}}
{{- define "tracer-agent.securityContext" -}}
runAsUser: 0
runAsNonRoot: false
privileged: false
{{- if not .Values.breakpoints.enabled }}
allowPrivilegeEscalation: false
{{- end }}
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add:
    - BPF
    - PERFMON
    - SYS_PTRACE
    - DAC_READ_SEARCH
    {{- if .Values.breakpoints.enabled }}
    - SYS_ADMIN
    {{- end }}
    {{- range .Values.extraCapabilities }}
    - {{ . }}
    {{- end }}
seccompProfile:
  {{- toYaml .Values.seccompProfile | nindent 2 }}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
appArmorProfile:
  {{- toYaml .Values.appArmorProfile | nindent 2 }}
{{- end }}
{{- with .Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The same for clusters whose pods have no field for it. */}}
{{- define "tracer-agent.appArmorAnnotation" -}}
{{- if semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version }}
{{- $profile := .Values.appArmorProfile }}
{{- $name := dict "Unconfined" "unconfined" "RuntimeDefault" "runtime/default" "Localhost" (printf "localhost/%s" (default "" $profile.localhostProfile)) }}
container.apparmor.security.beta.kubernetes.io/tracer-agent: {{ get $name $profile.type }}
{{- end }}
{{- end }}
