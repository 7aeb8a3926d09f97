package report

import "regexp"

// removed is what stands where a secret was.
const removed = "(removed)"

// secrets are the forms in which a secret may be in an artefact; the first group is kept.
var secrets = []*regexp.Regexp{
	// A private key in PEM, its lines apart or, in JSON, on one (RFC 7468).
	regexp.MustCompile(`(?s)()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`),
	// A token of a service account or of anybody's: a JWT (RFC 7519).
	regexp.MustCompile(`()\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*`),
	// Credentials of HTTP (RFC 9110, section 11.4).
	regexp.MustCompile(`(?i)((?:Bearer|Basic)[ \t]+)[A-Za-z0-9._~+/=-]{8,}`),
	// In an address (RFC 3986, section 3.2.1).
	regexp.MustCompile(`([a-z][a-z0-9+.-]*://)[^/\s:@"']+:[^/\s@"']+@`),
	// A variable of a container: its name on one line, its value on the next.
	regexp.MustCompile(`(?i)(name:[ \t]*"?[a-z0-9_.-]*(?:password|passwd|secret|token|api_?key|private_?key|credentials?)"?[ \t]*\r?\n[ \t]*value:[ \t]*)\S[^\r\n]*`),
	// A value in quotation marks under a name, as in JSON, with all that stands between them.
	regexp.MustCompile(`(?i)("[a-z0-9_.-]*(?:password|passwd|secret|token|api[_-]?key|private[_-]?key|key-data|credentials?)"[ \t]*:[ \t]*")(?:[^"\\\r\n]|\\.)+`),
	// A value under a name, as in YAML, JSON and the environment.
	regexp.MustCompile(`(?i)(\b[a-z0-9_.-]*(?:password|passwd|secret|token|api[_-]?key|private[_-]?key|key-data|credentials?)\\?"?[ \t]*[:=][ \t]*\\?"?)[^\s"'{}\[\],\\]+`),
}

// Redact returns an artefact's text without the secrets in it.
func Redact(text []byte) []byte {
	for _, form := range secrets {
		text = form.ReplaceAll(text, []byte("${1}"+removed))
	}
	return text
}
