package fault

import (
	"strconv"
	"strings"
	"time"
)

// What the arguments of meshchaos must say, in a fixture of an attack, so that it can be judged.
const (
	// ShortestSpike is how long signatures must be bad: the alert of them is pending for 30 s, and its
	// rate takes some seconds to rise.
	ShortestSpike = 45 * time.Second
	// LeastInjected is how many bad signatures an attacker must send to each node: more than five are to be counted.
	LeastInjected = 6
)

// provableAttack refuses arguments, which stand at a path, under which a criterion would blame the mesh for what was
// never done to it. An attack of another name is nobody's here.
func provableAttack(args []string, path string, fail failure) error {
	if len(args) == 0 {
		return nil
	}
	for _, a := range args[1:] {
		switch strings.TrimLeft(a, "-") {
		case "peers", "rate", "duration", "count":
			if args[0] == "corrupt" || args[0] == "inject" {
				return fail(path, "%s stands apart from its value: write %s=…", a, a)
			}
		}
	}
	flag := func(name string) (string, bool) {
		for _, a := range args[1:] {
			if value, ok := strings.CutPrefix(strings.TrimLeft(a, "-"), name+"="); ok && strings.HasPrefix(a, "-") {
				return value, true
			}
		}
		return "", false
	}
	switch args[0] {
	case "corrupt":
		if _, ok := flag("peers"); ok {
			return fail(path, "--peers spares some of the nodes: every node is held to have seen the attack")
		}
		if rate, ok := flag("rate"); ok {
			if r, err := strconv.ParseFloat(rate, 64); err != nil || r != 1 {
				return fail(path, "--rate=%s: the attack is judged by signatures that are all bad", rate)
			}
		}
		if lasts, ok := flag("duration"); ok {
			if d, err := time.ParseDuration(lasts); err == nil && d < ShortestSpike {
				return fail(path, "--duration=%s: no alert can fire in less than %v", lasts, ShortestSpike)
			}
		}
	case "inject":
		if count, ok := flag("count"); ok {
			if n, err := strconv.Atoi(count); err != nil || n < LeastInjected {
				return fail(path, "--count=%s: more than five bad signatures are to be counted", count)
			}
		}
	}
	return nil
}
