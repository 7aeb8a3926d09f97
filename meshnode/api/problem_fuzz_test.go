package api

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"
)

// FuzzReadProblem: whatever a server answers, the status is the response's, there
// is something to show, and no wait is negative.
func FuzzReadProblem(f *testing.F) {
	f.Add(503, "2", []byte(`{"title":"Service Unavailable","status":503,"detail":"not ready"}`))
	f.Add(404, "-1", []byte("<html>"))
	f.Add(500, "99999999999", []byte(`{"title":""}`))
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		if status < 400 || status > 599 {
			return
		}
		p := ReadProblem(&http.Response{StatusCode: status, Header: http.Header{"Retry-After": {after}}, Body: io.NopCloser(bytes.NewReader(body))})
		if p.Status != status || p.RetryAfter < 0 || p.RetryAfter%time.Second != 0 || p.Error() == "" {
			t.Errorf("%+v", p)
		}
	})
}
