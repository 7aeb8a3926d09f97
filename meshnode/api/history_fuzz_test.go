package api

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzReadHistory: a history is taken whole or not at all, and what is taken
// says the same when it is written again.
func FuzzReadHistory(f *testing.F) {
	f.Add([]byte(`{"op":"write","id":"x","node":"a","invoked":"2026-01-02T03:04:05.000000006Z","returned":"2026-01-02T03:04:06Z","result":"ok","status":201,"attempts":1}` + "\n"))
	f.Add([]byte(`{"op":"read","id":"x","node":"a","result":"unknown"}`))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := ReadHistory(bytes.NewReader(b))
		if err != nil {
			if ops != nil {
				t.Errorf("%d operations beside %v", len(ops), err)
			}
			return
		}
		var out bytes.Buffer
		for _, o := range ops {
			if err := json.NewEncoder(&out).Encode(o); err != nil {
				return // a year that RFC 3339 cannot write
			}
		}
		again, err := ReadHistory(&out)
		if err != nil || len(again) != len(ops) {
			t.Errorf("%d operations, then %d, %v", len(ops), len(again), err)
		}
	})
}
