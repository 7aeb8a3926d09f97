package main

import (
	"fmt"
	"strings"
)

// testPackage is a package whose tests the machine runs.
type testPackage struct {
	dir string
	run string // the tests that are about a kernel, as -test.run takes them; empty: all
	bpf bool   // they load eBPF programs, for which user-mode Linux has no types (BTF)
}

// testPackages are run in this order.
var testPackages = []testPackage{
	{dir: "bpf/frame"},
	{dir: "bpf/verifier", bpf: true},
	{dir: "bpf/corruptor", bpf: true},
	// Control groups of version 2, with limits: what measures them, looks into them and removes them.
	{dir: "meshnode/internal/resource"},
	{dir: "e2e/ground/host", run: "TestReadings$|TestControlGroupsHere$|TestEgressHere$"},
	{dir: "e2e/ground/engine", run: "TestGroupsAreRemoved$"},
	{dir: "e2e/ground/fault", run: "TestLookFindsRulesAndQdiscs$|TestLookFindsFiltersOfNobody$|TestTryDisk$|TestFakeClockIsFound$|TestStressorsAreFoundInTheirPod$"},
	{dir: "e2e/ground/fault", run: "TestLookFindsProgramsAtEgress$", bpf: true},
	// The last: it loads the kernel's own netem, of which the others have none.
	{dir: "e2e/ground/netem"},
}

// chosen are the packages of which the machine runs tests: that of one directory, or all.
func chosen(only string, bpf bool) ([]testPackage, error) {
	var all []testPackage
	var dirs []string
	for _, p := range testPackages {
		dirs = append(dirs, p.dir)
		if only != "" && only != p.dir {
			continue
		}
		if p.bpf && !bpf {
			fmt.Println("kernel: not in this kernel, which has no BTF:", p.dir)
			continue
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no tests: -only wants one of %s", strings.Join(dirs, ", "))
	}
	return all, nil
}

// tools are the programs of this machine that tests call, and the Debian packages that have them.
var tools = map[string]string{
	"tc": "iproute2", "ip": "iproute2",
	"iptables-legacy": "iptables", "iptables-legacy-save": "iptables",
	"sh": "dash", "awk": "mawk", "grep": "grep", "sed": "sed", "mount": "mount", "nsenter": "util-linux", "unshare": "util-linux",
	"cat": "coreutils", "cut": "coreutils", "date": "coreutils", "dd": "coreutils", "head": "coreutils", "od": "coreutils",
	"readlink": "coreutils", "rm": "coreutils", "seq": "coreutils", "sleep": "coreutils", "stat": "coreutils",
	"timeout": "coreutils", "tr": "coreutils",
}

// extensions are what iptables loads, beside its libraries, for rules with a verdict or a jump.
const extensions = "/usr/lib/*/xtables/libxt_standard.so"
