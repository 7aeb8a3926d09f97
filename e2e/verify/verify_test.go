package verify

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func op(kind, id, node string, result Result, second int) Operation {
	at := epoch.Add(time.Duration(second) * time.Second)
	return Operation{Op: kind, ID: id, Node: node, Invoked: at, Returned: at.Add(10 * time.Millisecond), Result: result}
}

func found(o Operation) Operation {
	o.Found = true
	return o
}

func TestSet(t *testing.T) {
	history := []Operation{
		op(Write, "r1", "a", OK, 1),
		op(Write, "r2", "b", OK, 2),
		op(Write, "r3", "a", Unknown, 3),
		op(Write, "r4", "b", Fail, 4),
	}
	with := func(more ...Operation) []Operation { return append(append([]Operation{}, history...), more...) }
	cases := map[string]struct {
		ops  []Operation
		a, b string // what the nodes list
		want Verdict
	}{
		"all is well":                 {ops: history, a: "r1 r2", b: "r2 r1", want: Verdict{Acknowledged: 2}},
		"an unknown write may land":   {ops: history, a: "r1 r2 r3", b: "r1 r2 r3", want: Verdict{Acknowledged: 2}},
		"one node lost one":           {ops: history, a: "r1 r2", b: "r2", want: Verdict{Acknowledged: 2, Lost: []Defect{{"r1", "b"}}}},
		"a node that lists nothing":   {ops: history, a: "r1 r2", b: "", want: Verdict{Acknowledged: 2, Lost: []Defect{{"r1", "b"}, {"r2", "b"}}}},
		"a duplicate":                 {ops: history, a: "r1 r2 r1", b: "r1 r2", want: Verdict{Acknowledged: 2, Doubled: []Defect{{"r1", "a"}}}},
		"an unknown write, twice":     {ops: history, a: "r1 r2 r3 r3", b: "r1 r2", want: Verdict{Acknowledged: 2, Doubled: []Defect{{"r3", "a"}}}},
		"a refused write that landed": {ops: history, a: "r1 r2 r4", b: "r1 r2", want: Verdict{Acknowledged: 2, Phantom: []Defect{{"r4", "a"}}}},
		"a record nobody wrote":       {ops: history, a: "r1 r2", b: "r1 r2 x", want: Verdict{Acknowledged: 2, Phantom: []Defect{{"x", "b"}}}},
		"a retried write is one": {ops: with(op(Write, "r1", "b", OK, 5)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a late acknowledgement counts": {ops: with(op(Write, "r4", "b", OK, 9)), a: "r1 r2 r4", b: "r1 r2",
			want: Verdict{Acknowledged: 3, Lost: []Defect{{"r4", "b"}}}},
		"a stale read where it was written": {ops: with(op(Read, "r1", "a", OK, 2)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2, Forgotten: []Defect{{"r1", "a"}}}},
		"a read elsewhere may be early": {ops: with(op(Read, "r1", "b", OK, 2)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a read before the acknowledgement": {ops: with(op(Read, "r1", "a", OK, 1)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a read that found it": {ops: with(found(op(Read, "r1", "a", OK, 2))), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a read that failed says nothing": {ops: with(op(Read, "r1", "a", Fail, 5)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
		"a read without an answer says nothing": {ops: with(op(Read, "r1", "a", Unknown, 5)), a: "r1 r2", b: "r1 r2",
			want: Verdict{Acknowledged: 2}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := Set(c.ops, Last(c.ops), map[string][]string{"a": strings.Fields(c.a), "b": strings.Fields(c.b)})
			if !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %+v, want %+v", got, c.want)
			}
			clean := Verdict{Acknowledged: c.want.Acknowledged}
			if held := got.Err() == nil; held != reflect.DeepEqual(c.want, clean) {
				t.Fatalf("error %v for %+v", got.Err(), got)
			}
		})
	}
}

func TestSetWhileClientsGoOn(t *testing.T) {
	ops := []Operation{op(Write, "r1", "a", OK, 1), op(Write, "r2", "a", OK, 2), op(Write, "r3", "a", OK, 3)}
	settled := Last(ops[:2])
	// r3 came after: on a already, not yet on b. Neither is a defect.
	v := Set(ops, settled, map[string][]string{"a": {"r1", "r2", "r3"}, "b": {"r1", "r2"}})
	if v.Err() != nil || v.Acknowledged != 2 {
		t.Fatalf("got %+v", v)
	}
	v = Set(ops, settled, map[string][]string{"a": {"r1", "r2", "r3"}, "b": {"r1", "r3"}})
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
	ops := []Operation{
		op(Write, "r1", "a", OK, 1), op(Write, "r2", "a", OK, 5), op(Write, "r3", "b", OK, 5),
		op(Write, "r4", "b", Unknown, 5), op(Read, "r1", "b", OK, 5), op(Write, "r5", "a", OK, 10),
	}
	got := Writes(ops, epoch.Add(4*time.Second), epoch.Add(10*time.Second))
	if !reflect.DeepEqual(got, map[string]Tally{"a": {1, 1}, "b": {2, 1}}) {
		t.Fatalf("got %v", got)
	}
}

func TestParseHistory(t *testing.T) {
	good, err := json.Marshal(op(Write, "r1", "a", OK, 1))
	if err != nil {
		t.Fatal(err)
	}
	ops, err := ParseHistory(strings.NewReader(string(good) + "\n" + string(good) + "\n"))
	if err != nil || len(ops) != 2 || !reflect.DeepEqual(ops[0], op(Write, "r1", "a", OK, 1)) {
		t.Fatalf("got %+v, %v", ops, err)
	}
	for name, change := range map[string][2]string{
		"cut short":         {`"}`, ``},
		"unknown operation": {`"write"`, `"wrote"`},
		"unknown result":    {`"ok"`, `"fine"`},
		"no id":             {`"r1"`, `""`},
		"time runs back":    {"01.01Z", "00.01Z"},
	} {
		bad := strings.Replace(string(good), change[0], change[1], 1)
		if bad == string(good) {
			t.Errorf("%s: nothing was changed in %s", name, good)
		}
		if _, err := ParseHistory(strings.NewReader(string(good) + "\n" + bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
