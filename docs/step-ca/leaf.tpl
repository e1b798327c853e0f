{{- /* step-ca's X.509 template for KarstKit's provisioner: exactly one SPIFFE id, of this trust domain, and for both ends. */ -}}
{{- $uris := list -}}
{{- range .SANs }}{{ if eq .Type "uri" }}{{ $uris = append $uris .Value }}{{ end }}{{ end -}}
{{- if ne (len $uris) 1 }}{{ fail "a certificate of the mesh carries exactly one URI" }}{{ end -}}
{{- if not (regexMatch "^spiffe://karst[.]local/(svc|ops)/[a-z0-9][a-z0-9-]*$" (first $uris)) }}{{ fail "the URI is no identity of the trust domain karst.local" }}{{ end -}}
{
  "subject": {{ toJson .Subject }},
  "sans": {{ toJson .SANs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["serverAuth", "clientAuth"]
}
