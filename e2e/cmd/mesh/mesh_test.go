package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// statuses are of a partition: zone-b is cut off, and b-1 does not answer.
const statuses = `[
{"node":"mesh-node-a-0","zone":"zone-a","started":"2030-01-01T00:00:00Z","ready":true,"mapek":true,"records":12,
 "sessions":{"mesh-node-a-0":8,"mesh-node-b-0":3},
 "peers":[{"name":"mesh-node-a-1","session":"verified"},{"name":"mesh-node-b-0","session":"unverified"}],
 "routes":[{"destination":"mesh-node-a-1","next_hop":"mesh-node-a-1"},{"destination":"mesh-node-b-0","next_hop":"mesh-node-a-1"}],
 "incidents":[{"id":"1","type":"link_failure","peers":["mesh-node-a-1"],"opened":"2030-01-01T00:00:40Z","resolved":"2030-01-01T00:00:42.5Z"},
  {"id":"2","type":"network_partition","peers":["mesh-node-b-0","mesh-node-b-1"],"opened":"2030-01-01T00:00:30Z","resolved":"0001-01-01T00:00:00Z"}]},
{"node":"mesh-node-a-1","zone":"zone-a","started":"2030-01-01T00:00:00Z","ready":false,"not_ready":["the store is not open"],"mapek":false,
 "sessions":{},"peers":[],"routes":[],"incidents":[]}
]`

func TestPicture(t *testing.T) {
	var all []api.Status
	if err := json.Unmarshal([]byte(statuses), &all); err != nil {
		t.Fatal(err)
	}
	p := newPicture()
	for _, s := range all {
		p.see(s.Node, &s, nil)
	}
	// It has answered before: what it said then is not shown as if it were so now.
	p.see("mesh-node-b-0", &api.Status{Node: "mesh-node-b-0", Ready: true}, nil)
	p.see("mesh-node-b-0", nil, errors.New("cut"))
	var b bytes.Buffer
	names := []string{"mesh-node-a-0", "mesh-node-a-1", "mesh-node-b-0", "mesh-node-b-1"}
	if err := p.write(&b, names, time.Date(2030, 1, 1, 0, 1, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	const want = `mesh in namespace x0tta6bl4, 4 nodes, at 00:01:00

NODE           ZONE    STATE                             UP    SESSIONS                                          CLIENTS  RECORDS  MAPE-K
mesh-node-a-0  zone-a  ready                             1m0s  1 of 3 verified (b-0 unverified, b-1 unknown)     8        12       on
mesh-node-a-1  zone-a  not ready: the store is not open  1m0s  0 of 3 verified (a-0 unknown, b-0 unknown, b-1 unknown)  0  0  off
`
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range append(strings.Split(want, "\n"),
		"mesh-node-b-0 does not answer", "mesh-node-b-1 is asked",
		"ROUTE FROM to a-0 to a-1 to b-0 to b-1", "mesh-node-a-0 direct by a-1 none", "mesh-node-a-1 none none none", "mesh-node-b-0 ? ? ?",
		"network_partition a-0 00:00:30 open b-0 b-1 link_failure a-0 00:00:40 2.5s a-1") {
		if want = strings.Join(strings.Fields(want), " "); !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// TestIncidentsFitTheScreen: open ones are never left out for newer ones that are over.
func TestIncidentsFitTheScreen(t *testing.T) {
	s := &api.Status{Node: "mesh-node-a-0"}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 20 {
		at := start.Add(time.Duration(i) * time.Minute)
		s.Incidents = append(s.Incidents, api.Incident{Type: "over", Opened: at, Resolved: at.Add(time.Second)})
	}
	s.Incidents[0].Type, s.Incidents[0].Resolved = "still_open", time.Time{}
	p := newPicture()
	p.see(s.Node, s, nil)
	var b bytes.Buffer
	if err := p.write(&b, []string{s.Node}, start); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "still_open") || strings.Count(b.String(), "over") != mostIncidents-1 || !strings.Contains(b.String(), "and 12 earlier ones") {
		t.Error(b.String())
	}
}

func TestScreen(t *testing.T) {
	for terminal, want := range map[bool]string{
		false: "one\ntwo\n\none\ntwo\n",
		true:  "\x1b[H\x1b[Jone\x1b[K\ntwo\x1b[K\n\x1b[J" + "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J",
	} {
		var b bytes.Buffer
		s := screen{out: &b, terminal: terminal}
		for range 2 {
			if err := s.draw(func(p *page) error { _, err := p.WriteString("one\ntwo\n"); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if b.String() != want {
			t.Errorf("terminal %v: %q, want %q", terminal, b.String(), want)
		}
	}
}

func TestWrongUse(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("nonsense: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"":                              `unknown command ""`,
		"frob":                          `unknown command "frob"`,
		"-frob status":                  "not defined: -frob",
		"-kubeconfig " + none + " up":   "make mesh-up makes one",
		"-kubeconfig " + broken + " up": "kubeconfig",
	} {
		err := run(t.Context(), strings.Fields(line), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("mesh %s: %v, want %q", line, err, want)
		}
	}
}
