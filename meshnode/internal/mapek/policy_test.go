package mapek

import (
	"slices"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func TestDefaultPolicyIsValid(t *testing.T) {
	p := DefaultPolicy()
	for _, typ := range []string{metric.NetworkPartition, metric.NodeCrash, metric.LinkFailure} {
		for _, m := range []Moment{Opened, PeerReturned} {
			if !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Incident == typ && r.When == m }) {
				t.Errorf("no rule for %s %s", typ, m)
			}
		}
	}
	for _, a := range supported {
		if !slices.ContainsFunc(p.Rules, func(r Rule) bool { return slices.Contains(r.Do, a) }) {
			t.Errorf("no rule does %s", a)
		}
	}
}

func TestBadPolicies(t *testing.T) {
	for bad, want := range map[string]string{
		"settle: 200":               "want a duration",
		"setle: 200ms":              `unknown field "setle"`,
		"settle: 1ms":               "settle is 1ms, want 50ms to 5s",
		"correlate: 100ms":          "correlate",
		"failures: 0":               "failures is 0",
		"rate: 1.5":                 "rate is 1.5",
		"strikes: 0":                "strikes is 0",
		"strike_window: 0s":         "strike_window is 0s",
		"block: 1ms":                "block is 1ms, want 1s to 24h",
		"resources: {cpu: 90}":      "resources.cpu is 90, want a share between 0 and 1",
		"resources: {throttled: 0}": "resources.throttled is 0",
		"resources: {memory: -1}":   "resources.memory is -1",
		"resources: {release: 1}":   "resources.release is 1",
		"resources: {queued: 1ms}":  "resources.queued is 1ms",
		"resources: {lag: 2h}":      "resources.lag is 2h",
		"resources: {for: 2h}":      "resources.for is 2h",
		"resources: {rest: 2h}":     "resources.rest is 2h",
		"storage: {latency: 1ms}":   "storage.latency is 1ms",
		"storage: {replace: 0s}":    "storage.replace is 0s",
		"clock: {skew: 1ms}":        "clock.skew is 1ms, want 100ms to 1h",
		"rules: [{incident: node_crash, when: opened, kinds: [full], do: []}]": `incidents node_crash have no kind "full"`,
		"rules: [{incident: clock_skew, when: opened, kinds: [full], do: []}]": `have no kind "full"; known: [own peer]`,
		"resources: {swap: 0.5}":                                                        `unknown field "swap"`,
		"rules: [{incident: flood}]":                                                    `rule 1: unknown incident "flood"`,
		"rules: [{incident: node_crash, when: later}]":                                  `unknown moment "later"`,
		"rules: [{incident: node_crash, when: opened, do: [pray]}]":                     `unknown action "pray"`,
		"actions: {}\nrules: [{incident: node_crash, when: opened, do: [rotate_keys]}]": `no entry under actions`,
		"actions: {rotate_keys: {deadline: 1s, attempts: 0}}":                           "attempts of rotate_keys is 0",
		"actions: {pray: {deadline: 1s, attempts: 1}}":                                  `unknown action "pray"`,
		"{": "policy:",
	} {
		_, err := ParsePolicy(override(t, bad))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", bad, err, want)
		}
	}
}

// override replaces the top-level keys of the built-in policy that bad has.
func override(t *testing.T, bad string) []byte {
	t.Helper()
	keys := map[string]bool{}
	for _, l := range strings.Split(bad, "\n") {
		k, _, _ := strings.Cut(l, ":")
		keys[k] = true
	}
	out, skip := []string{}, false
	for _, l := range strings.Split(string(defaultPolicy), "\n") {
		k, _, isKey := strings.Cut(l, ":")
		if isKey && l[0] != ' ' && l[0] != '#' {
			skip = keys[k]
		}
		if !skip {
			out = append(out, l)
		}
	}
	return []byte(strings.Join(out, "\n") + "\n" + bad + "\n")
}

func FuzzPolicy(f *testing.F) {
	f.Add(defaultPolicy)
	f.Add([]byte("settle: 200ms"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicy(b)
		if err != nil {
			return
		}
		for _, r := range p.Rules {
			for _, a := range r.Do {
				if p.Actions[a].Attempts < 1 || p.Actions[a].Deadline <= 0 {
					t.Errorf("accepted rule %+v has an action without limits", r)
				}
			}
		}
	})
}
