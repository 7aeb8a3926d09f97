package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// ProblemType is the media type of problem documents.
const ProblemType = "application/problem+json"

// Problem is an error of the API as RFC 9457 describes it. Its type is always
// about:blank, so Title is the status text and Detail says what to do.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// RetryAfter is sent as the header of that name, in whole seconds.
	RetryAfter time.Duration `json:"-"`
}

// NewProblem returns a problem with the status' text as title.
func NewProblem(status int, format string, args ...any) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail)
}

// ServeHTTP writes the problem.
func (p *Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", ProblemType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(p.Status)
	// The status is on the wire already; a client that is gone needs no error.
	_ = json.NewEncoder(w).Encode(p)
}

// maxProblem bounds what ReadProblem reads, in bytes.
const maxProblem = 16 << 10

// maxRetryAfter is the longest wait in seconds that is believed.
const maxRetryAfter = 3600

// ReadProblem decodes the error of a response with a status of 400 or more. A
// body that is no problem document gives one made from the status alone.
func ReadProblem(resp *http.Response) *Problem {
	p := &Problem{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(p); err != nil || p.Title == "" {
		p = &Problem{Title: http.StatusText(resp.StatusCode)}
	}
	p.Status = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		p.RetryAfter = time.Duration(min(s, maxRetryAfter)) * time.Second
	}
	return p
}
