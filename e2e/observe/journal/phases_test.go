package journal

import (
	"archive/zip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// recorded is the journal of a node in a run of a real cluster.
func recorded(t *testing.T, run, node string) []event.Entry {
	t.Helper()
	z, err := zip.OpenReader("../../testdata/runs/" + run + ".zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open("journal/" + node + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entries, err := event.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// TestPhasesOfAPartition tells the cut of a real run in five lines, and its heal.
func TestPhasesOfAPartition(t *testing.T) {
	all := recorded(t, "network-partition", "mesh-node-a-0")
	moment := func(clock string) time.Time {
		at, err := time.Parse(time.RFC3339, "2026-11-27T"+clock+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	got := Phases(Between(all, moment("08:38:16"), moment("08:38:20")))
	want := []string{
		"08:38:16.802  mesh-node-a-0  monitor    peer_unreachable, session_lost: mesh-node-b-0 mesh-node-b-1",
		"08:38:16.902  mesh-node-a-0  analyze    network_partition: mesh-node-b-0 mesh-node-b-1",
		"08:38:16.902  mesh-node-a-0  plan       activate_backup_routes, migrate_sessions: mesh-node-b-0 mesh-node-b-1",
		"08:38:16.902  mesh-node-a-0  execute    activate_backup_routes, migrate_sessions: mesh-node-b-0 mesh-node-b-1",
		"08:38:16.903  mesh-node-a-0  knowledge  recorded activate_backup_routes, recorded migrate_sessions: mesh-node-b-0 mesh-node-b-1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the cut:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	healed := strings.Join(Phases(Between(all, moment("08:38:30"), moment("08:38:36"))), "\n")
	for _, want := range []string{"monitor    peer_returned, session_verified", "resolved network_partition after 18.5s", "execute    reverify_sessions", "recorded network_partition after 18.5s"} {
		if !strings.Contains(healed, want) {
			t.Errorf("the heal lacks %q:\n%s", want, healed)
		}
	}
}

// TestPhasesTellWhatFailed: an action that failed is not told as one that was done, and what
// belongs to no incident is left out.
func TestPhasesTellWhatFailed(t *testing.T) {
	got := Phases([]event.Entry{
		{Time: at(1), Node: "a-0", Phase: event.Monitor, Kind: event.SessionVerified, Subject: "b-0"},
		{Time: at(2), Node: "a-0", Incident: "i", Phase: event.Execute, Kind: "x", Subject: "b-0", Detail: outcome("started")},
		{Time: at(3), Node: "a-0", Incident: "i", Phase: event.Execute, Kind: "x", Subject: "b-0", Detail: outcome("failed")},
		{Time: at(4), Node: "a-0", Incident: "j", Phase: event.Execute, Kind: "x", Subject: "a-0", Detail: outcome("done")},
	})
	want := []string{"00:00:00.003  a-0  execute    x failed: b-0", "00:00:00.004  a-0  execute    x"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
