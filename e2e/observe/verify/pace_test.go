package verify

import (
	"net/http"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// every returns a session's answers, one every so many milliseconds, in a time.
func every(id string, step, from, to int) []api.Operation {
	var ops []api.Operation
	for ms := from; ms <= to; ms += step {
		ops = append(ops, answer(id, 1, "a", "b", ms-10, ms))
	}
	return ops
}

func join(parts ...[]api.Operation) []api.Operation {
	var all []api.Operation
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// A client that hangs has no failed operation: it has none at all.
func TestHung(t *testing.T) {
	const limit = 2 * time.Second
	direct := answer("s", 1, "a", "b", 1, 2)
	direct.Service = ""
	for name, c := range map[string]struct {
		ops   []api.Operation // judged from 1 s to 21 s
		paces int
		hung  string
		least float64
	}{
		"served all the time":                  {every("s", 500, 500, 21500), 1, "", 1.9},
		"hangs to the end":                     {every("s", 500, 500, 9000), 1, "session s", .7},
		"hangs from the start":                 {join(every("s", 500, 100, 600), every("s", 500, 9000, 21000)), 1, "session s", 1},
		"hangs in between":                     {join(every("s", 500, 500, 9000), every("s", 500, 12000, 21000)), 1, "session s", 1.7},
		"asked before the window only":         {every("s", 500, 100, 900), 1, "session s", 0},
		"answered once":                        {every("s", 500, 11000, 11000), 1, "session s", 0},
		"one of two hangs":                     {join(every("s", 500, 500, 21500), every("x", 500, 500, 9000)), 2, "session x", .7},
		"is refused all the time":              {failedEvery("s", 500, 500, 21500), 1, "session s", 0},
		"could never make its session":         {every(api.NoSession, 500, 500, 21500), 0, "", 0},
		"not through a Service":                {[]api.Operation{direct}, 0, "", 0},
		"gone, and replaced by another":        {join(every("s", 500, 500, 9000), gone("s", 9100), every("x", 500, 9600, 21500)), 2, "", 1.9},
		"gone before":                          {join(every("s", 500, 100, 600), gone("s", 700), every("x", 500, 900, 21500)), 1, "", 1.9},
		"made after the window":                {join(every("s", 500, 500, 21500), every("x", 500, 22000, 23000)), 1, "", 1.9},
		"gone, and replaced by one that hangs": {join(every("s", 500, 500, 9000), gone("s", 9100), every("x", 500, 9600, 11000)), 2, "session x", .2},
		"nobody":                               {nil, 0, "", 0},
		"as long as the limit, no more":        {join(every("s", 500, 500, 9000), every("s", 500, 11000, 21500)), 1, "", 1.8},
	} {
		paces := Paces(c.ops, at(1000), at(21000))
		hung := Hung(paces, limit)
		if len(paces) != c.paces {
			t.Errorf("%s: %v", name, paces)
		}
		if c.hung == "" && len(hung) > 0 || c.hung != "" && (len(hung) != 1 || hung[0].Client != c.hung) {
			t.Errorf("%s: hung %v, want %q", name, hung, c.hung)
		}
		if rate, _ := Slowest(paces); rate < c.least || rate > c.least+.5 {
			t.Errorf("%s: %v a second, want %v or a little more", name, rate, c.least)
		}
	}
}

// gone is how a client learns that its session is no more.
func gone(id string, ms int) []api.Operation {
	o := tried(answer(id, 1, "a", "b", ms-10, ms), api.Failed, 1)
	o.Status = http.StatusNotFound
	return []api.Operation{o}
}

func failedEvery(id string, step, from, to int) []api.Operation {
	ops := every(id, step, from, to)
	for i := range ops {
		ops[i] = tried(ops[i], api.Failed, 3)
	}
	return ops
}

// All who write and read records through a Service are one client.
func TestPacesOfRecords(t *testing.T) {
	var ops []api.Operation
	for ms := 1000; ms <= 5000; ms += 1000 {
		o := answer("r", 0, "", "b", ms-10, ms)
		o.Op, o.ID = api.OpWrite, string(rune('a'+ms/1000))
		ops = append(ops, o)
	}
	paces := Paces(ops, at(1000), at(5000))
	if len(paces) != 1 || paces[0].Client != "records through mesh-api" || paces[0].Gap != time.Second || paces[0].Rate != 1.25 {
		t.Errorf("got %v", paces)
	}
}
