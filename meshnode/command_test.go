package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
)

func TestExitCodesAndHelp(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(bad, []byte("rules: []\nsettel: 1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runArgs := func(extra ...string) []string {
		return append([]string{"run", "--name=a", "--peers=a=10.0.0.1:26970", "--ca=https://x", "--token-file=x", "--trust-dir=x", "--data-dir=x", "--api-token-file=x"}, extra...)
	}
	for _, c := range []struct {
		args []string
		code int
		want string // in the output or on the error line
	}{
		{nil, 2, "usage: meshnode COMMAND"},
		{[]string{"--help"}, 0, "meshnode COMMAND --help"},
		{[]string{"dance"}, 2, `unknown command "dance"`},
		{[]string{"chaos"}, 2, `unknown command "chaos"`},
		{[]string{"run", "--help"}, 0, "example:\n  meshnode run"},
		{[]string{"ca", "--help"}, 0, "example:\n  meshnode ca"},
		{[]string{"client", "--help"}, 0, "example:\n  meshnode client"},
		{[]string{"status", "--help"}, 0, "example:\n  meshnode status"},
		{[]string{"version", "--help"}, 0, "example:\n  meshnode version"},
		{[]string{"version"}, 0, ""},
		{[]string{"version", "extra"}, 2, `unexpected argument "extra"`},
		{[]string{"run", "--nope"}, 2, "-nope"},
		{[]string{"run"}, 2, "--peers, --ca"},
		{runArgs("--peers=a=nowhere"), 2, "is not NAME=IP:PORT"},
		{runArgs("--mapek=maybe"), 2, "want on or off"},
		{runArgs("--listen=here"), 2, "--listen"},
		{runArgs("--reattest-interval=1ms"), 2, "--reattest-interval is 1ms, want 0 or at least 5ms"},
		{runArgs("--policy=/does/not/exist"), 2, "no such file"},
		{runArgs("--policy=" + bad), 2, `unknown field "settel"`},
		{[]string{"ca"}, 2, "--dir must be set"},
		{[]string{"client", "--nodes=http://x", "--token-file=x", "--trust-dir=x", "--history=" + filepath.Join(t.TempDir(), "h")}, 2, "want a URL"},
		{[]string{"client", "--nodes=https://x", "--token-file=x", "--trust-dir=x", "--history=x", "--size=0"}, 2, "--size"},
		{[]string{"client", "--nodes=https://x", "--token-file=x", "--trust-dir=x", "--history=x", "--sessions=-1"}, 2, "--sessions"},
		{[]string{"client", "--nodes=https://x", "--token-file=x", "--trust-dir=x", "--history=" + filepath.Join(t.TempDir(), "h"), "--sessions=1"}, 2, "through a service"},
		{[]string{"client", "--token-file=x", "--trust-dir=x", "--history=" + filepath.Join(t.TempDir(), "h")}, 2, "no nodes and no service"},
		{[]string{"status", "--api-token-file=x", "--trust-dir=/does/not/exist", "--name=a"}, 1, "trust bundle"},
	} {
		var out, errOut bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // whatever gets as far as running stops at once
		code := binary().Run(ctx, c.args, &out, &errOut)
		if code != c.code || !strings.Contains(out.String()+errOut.String(), c.want) {
			t.Errorf("%q: exit %d, want %d with %q:\n%s%s", c.args, code, c.code, c.want, out.String(), errOut.String())
		}
		if code != 0 && c.args != nil && strings.Count(errOut.String(), "\n") > 1 && !strings.Contains(errOut.String(), "policy") {
			t.Errorf("%q: more than one line:\n%s", c.args, errOut.String())
		}
	}
}

func TestVariablesMirrorFlags(t *testing.T) {
	env := map[string]string{"MESH_API_TOKEN_FILE": "from env", "MESH_NAME": "from env", "MESH_MAPEK": "off", "MESH_ENROL_TIMEOUT": "5s"}
	parse := func(args ...string) (options, error) {
		var o options
		f := o.flags(new(bytes.Buffer))
		f.Getenv = func(k string) (string, bool) { v, ok := env[k]; return v, ok }
		return o, f.Parse(args)
	}
	o, err := parse("--name=given")
	if err != nil || o.name != "given" || o.apiTokenFile != "from env" || bool(o.mapek) || o.enrolTimeout != 5*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	env["MESH_ENROL_TIMEOUT"] = "soon"
	if _, err := parse(); !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), "MESH_ENROL_TIMEOUT") {
		t.Errorf("bad variable: %v", err)
	}
	if _, err := parse("--help"); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

func TestStatusIsReadable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := printStatus(&out, &api.Status{
		Node: "a-0", Zone: "zone-a", Version: "v1", Started: now.Add(-90 * time.Second), NotReady: []string{"verifier was detached"},
		Verifier: "xdp-native", Records: 12, Sessions: map[string]int{"b-0": 3, "a-0": 4},
		Isolation: &api.Isolation{Since: now.Add(-12 * time.Second), Cause: "mtu", Detail: "544 IP fragments were dropped"},
		Peers:     []api.Peer{{Name: "a-1", Address: "10.0.0.2:26970", Status: "unreachable", RTTSeconds: 0.00123, Quality: 200, Session: "unverified"}},
		Routes:    []api.Route{{Destination: "a-1", NextHop: "a-2", Quality: 180, Standby: "b-0"}},
		Incidents: []api.Incident{
			{ID: "a-0-1-1", Type: "link_failure", Peers: []string{"a-1"}, Opened: now},
			{ID: "a-0-1-0", Type: "node_crash", Peers: []string{"a-2"}, Opened: now, Resolved: now.Add(1234 * time.Millisecond)},
		},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	const want = `a-0  zone-a  up 1m30s  NOT READY: verifier was detached
verifier xdp-native  MAPE-K off (watching only)  records 12  version v1
ISOLATED for 12s: mtu: 544 IP fragments were dropped
client sessions 7  a-0 4  b-0 3

PEER  STATUS       SESSION     RTT     QUALITY  ADDRESS
a-1   unreachable  unverified  1.23ms  200      10.0.0.2:26970

DESTINATION  NEXT HOP  QUALITY  STANDBY
a-1          a-2       180      b-0

INCIDENT  TYPE          OPENED                LASTED  PEERS
a-0-1-1   link_failure  2026-01-02T03:04:05Z  open    a-1
a-0-1-0   node_crash    2026-01-02T03:04:05Z  1.234s  a-2
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestKnowledgeIsReadable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := printKnowledge(&out, &api.Knowledge{
		Outcomes:       map[string]api.Tally{"rotate_keys": {Done: 2, Failed: 1}, "extend_timeouts": {Done: 1}},
		Weights:        map[string]float64{"a-1": 1, "b-0": 0.456},
		Availability:   map[string]float64{"b-0": 0.9876},
		Latency:        []api.LatencyPattern{{Peer: "b-0", TypicalSeconds: 0.0012, EpisodeSeconds: 0.4, Count: 3, Last: now}},
		Threats:        []api.Threat{{Peer: "b-1", Type: "high_failure_rate", Count: 17, Last: now}},
		Recommendation: &api.Recommendation{CPU: "700m", Reason: "demand", Incidents: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `
ACTION           DONE  FAILED
extend_timeouts  1     0
rotate_keys      2     1

LINK  WEIGHT  AVAILABLE
a-1   1.00    -
b-0   0.46    98.8 %

SLOW LINK  TYPICAL  WHEN SLOW  EPISODES  LAST
b-0        1.2ms    400ms      3         2026-01-02T03:04:05Z

THREAT  TYPE               BAD SIGNATURES  LAST                  BLOCKED UNTIL
b-1     high_failure_rate  17              2026-01-02T03:04:05Z  -

recommended requests and limits: cpu 700m  memory -  (2 episodes: demand)
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := printKnowledge(&out, &api.Knowledge{}); err != nil || out.Len() != 0 {
		t.Errorf("nothing learned: %q, %v", out.String(), err)
	}
}
