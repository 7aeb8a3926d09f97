package host

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestNotSupported: what a kernel lacks is said only where it has nothing in its place.
func TestNotSupported(t *testing.T) {
	lacks := errors.New("no qdisc clsact: modprobe sch_ingress")
	for name, c := range map[string]struct {
		release string
		egress  error
		want    string
	}{
		"tcx":                     {"6.6.0", lacks, ""},
		"a filter in its place":   {"6.1.0-44-amd64", nil, ""},
		"neither":                 {"6.1.0-44-amd64", lacks, "pqc-corrupt is not supported: this kernel has no tcx (Linux 6.6)"},
		"neither, of any release": {"of nobody", lacks, "modprobe sch_ingress"},
	} {
		got := notSupported(c.release, func() error { return c.egress })
		if len(got) > 1 || (len(got) == 0) != (c.want == "") || len(got) == 1 && !strings.Contains(got[0], c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestEgressHere asks the kernel: for what every kernel has on which these tests run, and for kinds that none has.
func TestEgressHere(t *testing.T) {
	if os.Geteuid() != 0 {
		unable(t, "a network namespace needs root")
	}
	for name, c := range map[string]struct {
		qdisc  netlink.Qdisc
		filter netlink.Filter
		want   string
	}{
		"both":      {&netlink.Clsact{}, &netlink.BpfFilter{Fd: noProgram, Name: "probe"}, ""},
		"no qdisc":  {&netlink.GenericQdisc{QdiscType: "nosuchqdisc"}, &netlink.BpfFilter{Fd: noProgram, Name: "probe"}, "no qdisc nosuchqdisc"},
		"no filter": {&netlink.Clsact{}, &netlink.GenericFilter{FilterType: "nosuchfilter"}, "no filter nosuchfilter"},
	} {
		err := checkEgress(c.qdisc, c.filter)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if lines := NotSupported(); len(lines) != 0 {
		t.Errorf("of this kernel: %q", lines)
	}
}
