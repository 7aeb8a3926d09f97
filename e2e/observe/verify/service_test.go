package verify

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// at is a time in milliseconds.
func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// answer is an operation on a session that was answered: invoked and returned
// in milliseconds, by a home, through a node.
func answer(id string, version uint64, home, node string, invoked, returned int) api.Operation {
	return api.Operation{
		Op: api.OpSession, ID: id, Node: node, Service: "mesh-api", Invoked: at(invoked), Returned: at(returned),
		Result: api.OK, Home: home, Version: version, Attempts: 1,
	}
}

func tried(o api.Operation, result api.Result, attempts int) api.Operation {
	o.Result, o.Attempts = result, attempts
	return o
}

func TestThroughService(t *testing.T) {
	good := answer("s", 1, "a", "b", 1000, 1010)
	direct := good
	direct.Service = ""
	for name, c := range map[string]struct {
		ops                        []api.Operation
		operations, failed         int
		attempts, failedTries, max int
	}{
		"nothing":                       {},
		"a good one":                    {[]api.Operation{good}, 1, 0, 1, 0, 1},
		"a retried one is no failure":   {[]api.Operation{tried(good, api.OK, 4)}, 1, 0, 4, 3, 4},
		"a refused one":                 {[]api.Operation{good, tried(good, api.Failed, 9)}, 2, 1, 10, 9, 9},
		"one without an answer":         {[]api.Operation{tried(good, api.Unknown, 7)}, 1, 1, 7, 7, 7},
		"a late acknowledgement":        {[]api.Operation{answer("s", 1, "a", "b", 1000, 3300)}, 1, 1, 1, 0, 1},
		"at the end of the budget":      {[]api.Operation{answer("s", 1, "a", "b", 1000, 3000)}, 1, 0, 1, 0, 1},
		"directly at a node":            {[]api.Operation{tried(direct, api.Failed, 3)}, 0, 0, 0, 0, 0},
		"over before":                   {[]api.Operation{tried(answer("s", 1, "a", "b", 1, 400), api.Failed, 3)}, 0, 0, 0, 0, 0},
		"begun before, returned within": {[]api.Operation{tried(answer("s", 1, "a", "b", 1, 600), api.Failed, 3)}, 1, 1, 3, 3, 3},
		"begun after":                   {[]api.Operation{tried(answer("s", 1, "a", "b", 9001, 9002), api.Failed, 3)}, 0, 0, 0, 0, 0},
	} {
		got := ThroughService(c.ops, at(500), at(9000))
		if got.Operations != c.operations || len(got.Failed) != c.failed || got.Attempts != c.attempts || got.FailedAttempts != c.failedTries || got.Most != c.max {
			t.Errorf("%s: %+v", name, got)
		}
		if (got.Err() == nil) != (c.failed == 0) {
			t.Errorf("%s: %v", name, got.Err())
		}
	}
	s := ThroughService([]api.Operation{answer("s", 1, "a", "b", 1000, 1700)}, at(0), at(9000))
	if s.Slowest != 700*time.Millisecond {
		t.Errorf("slowest %v", s.Slowest)
	}
}

func TestErrOfServiceIsShort(t *testing.T) {
	bad := tried(answer("s", 1, "a", "b", 1000, 3000), api.Unknown, 9)
	bad.Errors = []string{"first", "connection refused"}
	var ops []api.Operation
	for range 100 {
		ops = append(ops, bad)
	}
	s := ThroughService(ops, at(0), at(9000)).Err().Error()
	if !strings.Contains(s, "100 of 100") || !strings.Contains(s, "connection refused") || strings.Count(s, "session s") != maxShown {
		t.Error(s)
	}
}

func TestSessions(t *testing.T) {
	before := []api.Operation{
		answer("s1", 1, "a", "b", 100, 110), answer("s2", 1, "b", "b", 100, 110), answer("s3", 1, "a", "c", 100, 110),
		answer("s3", 2, "c", "c", 200, 210), // moved before
	}
	with := func(more ...api.Operation) []api.Operation {
		return append(append([]api.Operation{}, before...), more...)
	}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for name, c := range map[string]struct {
		ops  []api.Operation
		want Takeover
	}{
		"no answer": {before, Takeover{map[string]time.Duration{}, []string{"s1"}}},
		"the first answer elsewhere counts": {with(answer("s1", 3, "b", "c", 2500, 2510), answer("s1", 2, "b", "c", 1400, 1500)),
			Takeover{map[string]time.Duration{"s1": ms(500)}, nil}},
		"an answer that was asked for before": {with(answer("s1", 2, "b", "c", 900, 1100)), Takeover{map[string]time.Duration{"s1": ms(100)}, nil}},
		"the dead node's successor is not elsewhere": {with(answer("s1", 2, "a", "c", 4000, 4010)),
			Takeover{map[string]time.Duration{}, []string{"s1"}}},
		"what the successor passes on is from elsewhere": {with(answer("s1", 2, "b", "a", 1300, 1310), answer("s1", 3, "b", "a", 2300, 2310)),
			Takeover{map[string]time.Duration{"s1": ms(310)}, nil}},
		"a failure is no answer": {with(tried(answer("s1", 2, "b", "c", 1100, 1200), api.Failed, 1)), Takeover{map[string]time.Duration{}, []string{"s1"}}},
		"others do not count":    {with(answer("s2", 2, "c", "c", 1100, 1200)), Takeover{map[string]time.Duration{}, []string{"s1"}}},
	} {
		got := Sessions(c.ops, "a", at(1000))
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if err := got.Err(ms(500)); (err == nil) != (len(c.want.Silent) == 0) || got.Homed() != 1 {
			t.Errorf("%s: %v", name, err)
		}
		if len(got.Took) > 0 && got.Err(got.Slowest()-1) == nil {
			t.Errorf("%s: the limit is not judged", name)
		}
	}
}

func TestRegressed(t *testing.T) {
	for name, c := range map[string]struct {
		ops  []api.Operation
		want []Defect
	}{
		"in order": {[]api.Operation{answer("s", 1, "a", "a", 0, 10), answer("s", 2, "a", "a", 20, 30), answer("s", 2, "a", "b", 40, 50)}, nil},
		"a stale read": {[]api.Operation{answer("s", 2, "a", "a", 0, 10), answer("s", 1, "a", "b", 20, 30)},
			[]Defect{{"s", "b"}}},
		"a lost update, whatever the order of the lines": {[]api.Operation{answer("s", 3, "b", "c", 80, 90), answer("s", 4, "a", "a", 0, 10), answer("s", 5, "b", "c", 100, 110)},
			[]Defect{{"s", "c"}}},
		"at the same time either may be first": {[]api.Operation{answer("s", 2, "a", "a", 0, 30), answer("s", 1, "a", "b", 20, 40)}, nil},
		"other sessions":                       {[]api.Operation{answer("s", 2, "a", "a", 0, 10), answer("x", 1, "a", "b", 20, 30)}, nil},
		"what failed says nothing":             {[]api.Operation{answer("s", 2, "a", "a", 0, 10), tried(answer("s", 1, "a", "b", 20, 30), api.Failed, 1)}, nil},
	} {
		if got := Regressed(c.ops); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
