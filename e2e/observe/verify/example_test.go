package verify_test

import (
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Two writes were acknowledged, one of them is on one node only: it is lost.
func ExampleSet() {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	write := func(id, node string, result api.Result) api.Operation {
		return api.Operation{Op: api.OpWrite, ID: id, Node: node, Result: result, Invoked: start, Returned: start.Add(time.Second), Attempts: 1}
	}
	history := []api.Operation{write("r1", "a-0", api.OK), write("r2", "b-0", api.OK), write("r3", "b-0", api.Unknown)}
	listed := map[string][]string{"a-0": {"r1"}, "b-0": {"r1", "r2", "r3"}}

	v := verify.Set(history, start.Add(time.Minute), listed, nil)
	fmt.Println(v.Acknowledged, "acknowledged, lost:", v.Lost)
	// Output: 2 acknowledged, lost: [{r2 a-0}]
}

// A client that hangs has no failed operation. Its gap tells.
func ExamplePaces() {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var history []api.Operation
	for _, second := range []int{0, 1, 2, 8, 9, 10} {
		at := start.Add(time.Duration(second) * time.Second)
		history = append(history, api.Operation{
			Op: api.OpSession, ID: "s1", Service: "mesh-api", Node: "a-0", Home: "b-0", Version: 1, Result: api.OK, Invoked: at, Returned: at, Attempts: 1,
		})
	}
	for _, p := range verify.Hung(verify.Paces(history, start, start.Add(10*time.Second)), 2*time.Second) {
		fmt.Println(p)
	}
	// Output: session s1: 0.60 operations a second, at most 6s without an answer
}
