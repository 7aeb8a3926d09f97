package event_test

import (
	"fmt"
	"strings"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// What GET /v1/events answers: one incident, from what Monitor saw to what Knowledge kept.
func ExampleRead() {
	journal := strings.NewReader(`
{"seq":1,"time":"2026-01-02T03:04:05.1Z","node":"a-0","incident":"i1","phase":"monitor","kind":"peer_unreachable","subject":"b-0"}
{"seq":2,"time":"2026-01-02T03:04:05.2Z","node":"a-0","incident":"i1","phase":"analyze","kind":"node_crash","subject":"b-0"}
{"seq":3,"time":"2026-01-02T03:04:05.3Z","node":"a-0","incident":"i1","phase":"execute","kind":"migrate_sessions","detail":{"outcome":"done"}}
`)
	entries, err := event.Read(journal)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range entries {
		fmt.Printf("%s: %s\n", e.Phase, e.Kind)
	}
	fmt.Println(entries[2].Detail[event.DetailOutcome], "after", entries[2].Time.Sub(entries[0].Time))
	// Output:
	// monitor: peer_unreachable
	// analyze: node_crash
	// execute: migrate_sessions
	// done after 200ms
}
