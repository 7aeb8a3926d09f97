package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// A node that is busy says so, and when to ask again.
func ExampleProblem() {
	node := httptest.NewServer(&api.Problem{
		Title: http.StatusText(http.StatusServiceUnavailable), Status: http.StatusServiceUnavailable,
		Detail: "no peer holds a copy yet", RetryAfter: time.Second,
	})
	defer node.Close()
	resp, err := http.Get(node.URL + api.RecordsPath + "/x")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	p := api.ReadProblem(resp)
	fmt.Println(p)
	fmt.Println("again in", p.RetryAfter)
	// Output:
	// 503 Service Unavailable: no peer holds a copy yet
	// again in 1s
}

// A recording client writes one line for each operation; a line that says too little is refused.
func ExampleReadHistory() {
	const line = `{"op":"write","id":"r1","node":"a-0","invoked":"2026-01-02T03:04:05Z","returned":"2026-01-02T03:04:05.2Z","result":"ok","status":201,"attempts":1}`
	ops, err := api.ReadHistory(strings.NewReader(line))
	fmt.Println(len(ops), ops[0].Result, ops[0].Returned.Sub(ops[0].Invoked), err)

	_, err = api.ReadHistory(strings.NewReader(strings.Replace(line, `"node":"a-0",`, "", 1)))
	fmt.Println(err)
	// Output:
	// 1 ok 200ms <nil>
	// history line 1: operation "write" without id or node
}
