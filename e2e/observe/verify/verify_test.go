package verify

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func op(kind, id, node string, result api.Result, second int) api.Operation {
	at := epoch.Add(time.Duration(second) * time.Second)
	return api.Operation{Op: kind, ID: id, Node: node, Invoked: at, Returned: at.Add(10 * time.Millisecond), Result: result, Attempts: 1}
}

func found(o api.Operation) api.Operation {
	o.Found = true
	return o
}

func TestSet(t *testing.T) {
	history := []api.Operation{
		op(api.OpWrite, "r1", "a", api.OK, 1),
		op(api.OpWrite, "r2", "b", api.OK, 2),
		op(api.OpWrite, "r3", "a", api.Unknown, 3),
		op(api.OpWrite, "r4", "b", api.Failed, 4),
	}
	with := func(more ...api.Operation) []api.Operation {
		return append(append([]api.Operation{}, history...), more...)
	}
	cases := map[string]struct {
		ops  []api.Operation
		a, b string // what the nodes list
		// changed are the records whose content is not what was acknowledged.
		changed []Defect
		want    Verdict
	}{
		"all is well":                 {ops: history, a: "r1 r2", b: "r2 r1", want: Verdict{Acknowledged: 2}},
		"an unknown write may land":   {ops: history, a: "r1 r2 r3", b: "r1 r2 r3", want: Verdict{Acknowledged: 2}},
		"one node lost one":           {ops: history, a: "r1 r2", b: "r2", want: Verdict{Acknowledged: 2, Lost: []Defect{{"r1", "b"}}}},
		"a node that lists nothing":   {ops: history, a: "r1 r2", b: "", want: Verdict{Acknowledged: 2, Lost: []Defect{{"r1", "b"}, {"r2", "b"}}}},
		"a duplicate":                 {ops: history, a: "r1 r2 r1", b: "r1 r2", want: Verdict{Acknowledged: 2, Doubled: []Defect{{"r1", "a"}}}},
		"an unknown write, twice":     {ops: history, a: "r1 r2 r3 r3", b: "r1 r2", want: Verdict{Acknowledged: 2, Doubled: []Defect{{"r3", "a"}}}},
		"a refused write that landed": {ops: history, a: "r1 r2 r4", b: "r1 r2", want: Verdict{Acknowledged: 2, Phantom: []Defect{{"r4", "a"}}}},
		"other content": {ops: history, a: "r1 r2", b: "r1 r2", changed: []Defect{{"r2", "b"}},
			want: Verdict{Acknowledged: 2, Changed: []Defect{{"r2", "b"}}}},
		"a record nobody wrote": {ops: history, a: "r1 r2", b: "r1 r2 x", want: Verdict{Acknowledged: 2, Phantom: []Defect{{"x", "b"}}}},
		"a retried write is one": {ops: with(op(api.OpWrite, "r1", "b", api.OK, 5)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a late acknowledgement counts": {ops: with(op(api.OpWrite, "r4", "b", api.OK, 9)), a: "r1 r2 r4", b: "r1 r2",
			want: Verdict{Acknowledged: 3, Lost: []Defect{{"r4", "b"}}}},
		"a stale read where it was written": {ops: with(op(api.OpRead, "r1", "a", api.OK, 2)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2, Forgotten: []Defect{{"r1", "a"}}}},
		"a read elsewhere may be early": {ops: with(op(api.OpRead, "r1", "b", api.OK, 2)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a read before the acknowledgement": {ops: with(op(api.OpRead, "r1", "a", api.OK, 1)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a read that found it": {ops: with(found(op(api.OpRead, "r1", "a", api.OK, 2))), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a read that failed says nothing": {ops: with(op(api.OpRead, "r1", "a", api.Failed, 5)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a read without an answer says nothing": {ops: with(op(api.OpRead, "r1", "a", api.Unknown, 5)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := Set(c.ops, Last(c.ops), map[string][]string{"a": strings.Fields(c.a), "b": strings.Fields(c.b)}, c.changed)
			if !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %+v, want %+v", got, c.want)
			}
			clean := Verdict{Acknowledged: c.want.Acknowledged}
			if held := got.Err() == nil; held != reflect.DeepEqual(c.want, clean) {
				t.Fatalf("error %v for %+v", got.Err(), got)
			}
			if (got.Defects() == 0) != (got.Err() == nil) {
				t.Fatalf("%d defects, and error %v", got.Defects(), got.Err())
			}
		})
	}
}

func TestSetWhileClientsGoOn(t *testing.T) {
	ops := []api.Operation{op(api.OpWrite, "r1", "a", api.OK, 1), op(api.OpWrite, "r2", "a", api.OK, 2), op(api.OpWrite, "r3", "a", api.OK, 3)}
	settled := Last(ops[:2])
	// r3 came after: on a already, not yet on b. Neither is a defect.
	v := Set(ops, settled, map[string][]string{"a": {"r1", "r2", "r3"}, "b": {"r1", "r2"}}, nil)
	if v.Err() != nil || v.Acknowledged != 2 {
		t.Fatalf("got %+v", v)
	}
	v = Set(ops, settled, map[string][]string{"a": {"r1", "r2", "r3"}, "b": {"r1", "r3"}}, nil)
	if len(v.Lost) != 1 || v.Lost[0] != (Defect{"r2", "b"}) {
		t.Fatalf("got %+v", v)
	}
}

func TestErrNamesRecordsButNotAllOfThem(t *testing.T) {
	v := Verdict{Acknowledged: 100}
	for range 100 {
		v.Lost = append(v.Lost, Defect{"r", "a"})
	}
	s := v.Err().Error()
	if !strings.Contains(s, "100 lost (r on a,") || strings.Count(s, "r on a") != maxShown {
		t.Fatalf("got %s", s)
	}
}

func TestWrites(t *testing.T) {
	ops := []api.Operation{
		op(api.OpWrite, "r1", "a", api.OK, 1), op(api.OpWrite, "r2", "a", api.OK, 5), op(api.OpWrite, "r3", "b", api.OK, 5),
		op(api.OpWrite, "r4", "b", api.Unknown, 5), op(api.OpRead, "r1", "b", api.OK, 5), op(api.OpWrite, "r5", "a", api.OK, 10),
	}
	got := Writes(ops, epoch.Add(4*time.Second), epoch.Add(10*time.Second))
	if !reflect.DeepEqual(got, map[string]Tally{"a": {1, 1}, "b": {2, 1}}) {
		t.Fatalf("got %v", got)
	}
}

func TestAcknowledged(t *testing.T) {
	sized := func(o api.Operation, size int) api.Operation {
		o.Size = size
		return o
	}
	ops := []api.Operation{
		sized(op(api.OpWrite, "r2", "b", api.OK, 2), 256), sized(op(api.OpWrite, "r1", "a", api.OK, 1), 64), sized(op(api.OpWrite, "r1", "b", api.OK, 2), 64),
		sized(op(api.OpWrite, "r3", "a", api.Unknown, 2), 8), sized(op(api.OpWrite, "r4", "a", api.Failed, 2), 8),
		sized(op(api.OpWrite, "r5", "a", api.OK, 9), 8), op(api.OpRead, "r6", "a", api.OK, 1),
	}
	ids, sizes := Acknowledged(ops, epoch.Add(5*time.Second))
	if !reflect.DeepEqual(ids, []string{"r1", "r2"}) || !reflect.DeepEqual(sizes, map[string]int{"r1": 64, "r2": 256}) {
		t.Errorf("got %v, %v", ids, sizes)
	}
}

func TestIntact(t *testing.T) {
	body := api.RecordBody("r1", 256)
	changed := slices.Clone(body)
	changed[255] ^= 1
	for name, c := range map[string]struct {
		body []byte
		want bool
	}{
		"what was acknowledged": {body, true},
		"cut short":             {body[:255], false},
		"cut at a line's end":   {api.RecordBody("r1", 128), false},
		"longer":                {api.RecordBody("r1", 257), false},
		"empty":                 {nil, false},
		"one bit is another":    {changed, false},
		"another record's":      {api.RecordBody("r2", 256), false},
	} {
		if got := Intact("r1", c.body, 256); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
