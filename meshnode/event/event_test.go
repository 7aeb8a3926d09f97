package event_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

func TestEntryJSON(t *testing.T) {
	e := event.Entry{
		Seq: 7, Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Node: "n0", Incident: "n0-1-1", Phase: event.Execute,
		Kind: "reverify_sessions", Subject: "n1", Detail: map[string]string{event.DetailOutcome: "done"},
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"seq":7,"time":"2026-01-02T03:04:05.000000006Z","node":"n0","incident":"n0-1-1","phase":"execute","kind":"reverify_sessions","subject":"n1","detail":{"outcome":"done"}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	got, err := event.Read(strings.NewReader("\n" + want + "\n"))
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], e) {
		t.Errorf("read back %+v, %v", got, err)
	}
}

func TestReadNamesTheLine(t *testing.T) {
	got, err := event.Read(strings.NewReader("{\"seq\":1}\n{\"seq\":2}\nnonsense\n"))
	if err == nil || !strings.Contains(err.Error(), "line 3") || len(got) != 2 {
		t.Errorf("%d entries, %v", len(got), err)
	}
	if _, err := event.Read(strings.NewReader(strings.Repeat("x", 1<<20))); err == nil {
		t.Error("a line of 1 MiB was accepted")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"seq\":1,\"time\":\"2026-01-02T03:04:05.000000006Z\"}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := event.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Time.Year() < 0 || e.Time.Year() > 9999 {
				continue // RFC 3339 cannot write it
			}
			if _, err := json.Marshal(e); err != nil {
				t.Errorf("%+v: %v", e, err)
			}
		}
	})
}
