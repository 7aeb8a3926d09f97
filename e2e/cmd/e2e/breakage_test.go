package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
)

// The criteria want the harness broken in four ways, each with its own column in the matrix.
func TestBreakages(t *testing.T) {
	names := map[string]bool{}
	for _, b := range breakages {
		if b.name == "" || names[b.name] {
			t.Errorf("the name %q is taken, or is none", b.name)
		}
		names[b.name] = true
		if b.when == "" || b.do == "" || b.scenario == "" {
			t.Errorf("%s: it does not say when it breaks what, and under which scenario", b.name)
		}
		if b.lasts > 0 && b.until != "" {
			t.Errorf("%s ends twice", b.name)
		}
		if (b.lasts > 0 || b.until != "") && b.undo == "" {
			t.Errorf("%s does not end", b.name)
		}
	}
	for _, words := range [][]string{{"Prometheus", "stopped"}, {"port-forward", "cut"}, {"prober", "killed"}, {"one node's clock", "moved"}} {
		found := 0
		for name := range names {
			if strings.Contains(name, words[0]) && strings.Contains(name, words[1]) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d breakages are %v", found, words)
		}
	}
}

// stubs stand in for what the scripts call. They keep in $STATE what would be changed by them.
var stubs = map[string]string{
	"kubectl": `#!/bin/sh
[ "$1" = --kubeconfig=/etc/kubernetes/admin.conf ] || exit 1
shift
echo "$*" >>"$STATE/kubectl"
case $1 in
get) cat "$STATE/answer" ;;
apply) cat >"$STATE/applied" ;;
esac
`,
	"iptables": `#!/bin/sh
[ "$1" = -w ] || exit 1
op=$2; shift 2; rules=$STATE/${0##*/}
case $op in
-I) echo "$*" >>"$rules" ;;
-D) grep -qxF -e "$*" "$rules" || exit 1
    n=$(grep -cxF -e "$*" "$rules"); : >"$rules"
    while [ "$n" -gt 1 ]; do echo "$*" >>"$rules"; n=$((n - 1)); done ;;
*) exit 1 ;;
esac
`,
	"pkill": "#!/bin/sh\necho \"$*\" >>\"$STATE/pkill\"\nexit 1\n", // there was no such process
}

// machine is where scripts run with stubs.
type machine struct {
	t     *testing.T
	state string
	path  string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t, t.TempDir(), t.TempDir()}
	for name, script := range stubs {
		if err := os.WriteFile(filepath.Join(m.path, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("iptables", filepath.Join(m.path, "ip6tables")); err != nil {
		t.Fatal(err)
	}
	return m
}

// run runs a script as breakages are run, and returns what it prints.
func (m machine) run(script string, args ...string) string {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Env = []string{"PATH=" + m.path + ":" + os.Getenv("PATH"), "STATE=" + m.state}
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("%s: %v", script, err)
	}
	return strings.TrimSpace(string(out))
}

// kept is what a stub has kept.
func (m machine) kept(name string) string {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.state, name))
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return string(b)
}

func (m machine) answers(text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.state, "answer"), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// What was broken is mended, also what was broken twice, or was not; and it may be mended again.
func TestBreakagesAreUndone(t *testing.T) {
	for _, b := range breakages {
		m := newMachine(t)
		for _, script := range []string{b.undo, b.do, b.do, b.undo, b.undo} {
			m.run(script, "mesh")
		}
		for _, table := range []string{"iptables", "ip6tables"} {
			if rules := m.kept(table); rules != "" {
				t.Errorf("%s leaves rules of %s: %s", b.name, table, rules)
			}
		}
		if m.kept("applied") != "" && !strings.HasSuffix(m.kept("kubectl"), "delete timechaos -A -l breakage=moved-clock --timeout=60s\n") {
			t.Errorf("%s leaves an object: %s", b.name, m.kept("kubectl"))
		}
		if calls := m.kept("kubectl"); b.name == "Prometheus is stopped" && (!strings.Contains(calls, "--replicas=0") ||
			!strings.HasSuffix(calls, "scale deployment prometheus --replicas=1\n-n monitoring rollout status deployment prometheus --timeout=90s\n")) {
			t.Errorf("%s leaves nothing running: %s", b.name, calls)
		}
		if b.undo == "" && (m.kept("kubectl") != "" || m.kept("pkill") == "") {
			t.Errorf("%s is not undone", b.name)
		}
	}
}

// The cut is of kubelets' port and of no other, for both families.
func TestThePortForwardIsCut(t *testing.T) {
	m := newMachine(t)
	m.run(breakageOf(t, "the port-forward is cut").do, "mesh")
	const want = "INPUT -p tcp --dport 10250 -j REJECT --reject-with tcp-reset\n"
	if m.kept("iptables") != want || m.kept("ip6tables") != want {
		t.Errorf("rules %q and %q", m.kept("iptables"), m.kept("ip6tables"))
	}
}

// The clock moves by what makes times incomparable, and by less than what the mesh notices and a fixture may ask for.
func TestTheClockIsMoved(t *testing.T) {
	m := newMachine(t)
	m.run(breakageOf(t, "one node's clock is moved").do, "mesh-1")
	var o v1alpha1.TimeChaos
	if err := yaml.UnmarshalStrict([]byte(m.kept("applied")), &o); err != nil {
		t.Fatalf("%v: %s", err, m.kept("applied"))
	}
	off, err := time.ParseDuration(o.Spec.TimeOffset)
	if err != nil || off.Abs() <= 50*time.Millisecond || off.Abs() >= fault.LeastSkew {
		t.Errorf("the clock moves by %v: %v", off, err)
	}
	selects := o.Spec.Selector.Namespaces
	if o.Namespace != "mesh-1" || len(selects) != 1 || selects[0] != "mesh-1" || len(o.Spec.Selector.LabelSelectors) != 1 {
		t.Errorf("it is in %q and selects %+v", o.Namespace, o.Spec.Selector)
	}
	if o.Labels["breakage"] != "moved-clock" || o.Kind != "TimeChaos" || o.Spec.Duration != nil {
		t.Errorf("%+v", o)
	}
}

func breakageOf(t *testing.T, name string) breakage {
	t.Helper()
	for _, b := range breakages {
		if b.name == name {
			return b
		}
	}
	t.Fatalf("%s: no such breakage", name)
	return breakage{}
}

// A breakage waits for its fault, and gets to know where that is.
func TestWhenABreakageStrikes(t *testing.T) {
	const injected, begun = "mesh-1 True\n", "mesh-1 \nmesh-2 False\n"
	const recorded, others = "mesh-pqc-replay-1 \nmesh-2 outside-probe\nmesh-pqc-corrupt-3 outside-probe pqc-replay\n", "mesh-pqc-replay-1 \nmesh-2 pqc-corrupt\n"
	for name, c := range map[string]map[string]string{ // answers of the cluster, and what is made of them
		"Prometheus is stopped":     {"": "", begun: "mesh-1\nmesh-2", injected: "mesh-1"},
		"a prober is killed":        {"": "", begun: "mesh-1\nmesh-2", injected: "mesh-1"},
		"the port-forward is cut":   {"": "", begun: "", injected: "mesh-1"},
		"one node's clock is moved": {"": "", others: "", recorded: "mesh-pqc-corrupt-3"},
	} {
		m := newMachine(t)
		for answer, want := range c {
			m.answers(answer)
			if got := m.run(breakageOf(t, name).when); got != want {
				t.Errorf("%s, of %q: %q, want %q", name, answer, got, want)
			}
		}
	}
	m, clock := newMachine(t), breakageOf(t, "one node's clock is moved")
	for answer, over := range map[string]bool{"": false, "podchaos.chaos-mesh.org/pqc-verification-failure\n": true} {
		m.answers(answer)
		if got := m.run(clock.until); (got != "") != over {
			t.Errorf("%q ends it: %q", answer, got)
		}
	}
}
