package pin

import (
	"fmt"
	"time"

	"golang.org/x/mod/semver"
)

// Behind is a pin that is not at the newest version, on purpose.
type Behind struct {
	Name, Version string // of the pin
	Newest        string // the newest version that was known on a day
	On            string // that day, as 2006-01-02
	Why           string // what keeps the project from it
}

// NotNewest are the pins that something holds back. One that goes on, or whose reason is gone, leaves the table.
var NotNewest = []Behind{
	{etcd, "3.6.5", "3.7.3", "2026-11-25", "it is the version that the kubeadm of Kubernetes 1.34.3 deploys (DefaultEtcdVersion)"},
	{metricsServer, "0.7.2", "0.9.0", "2026-11-25", "0.8 needs a later API server library than that of the cluster's version, with which it is built"},
	{"github.com/chromedp/cdproto", "0.159.0", "0.159.3", "2026-11-25", "chromedp 0.23.0, which is the newest, is made for this version of the protocol"},
	{"github.com/opencontainers/runtime-spec", "1.2.1", "1.3.0", "2026-11-28", "Chaos Mesh's own go.mod holds it below 1.3, and containerd 2.2.0 asks for this version"},
}

// Floating are the pins that are to mean something else tomorrow, and why.
var Floating = map[string]string{
	"debian:sid": "the newest kernel that Debian has is what its job tries",
}

// Stale returns a line for each entry of a table that is no reason, or no longer: of what is not pinned in that version
// any more, without a version that is newer, a day, or words.
func Stale(pins []Pin, table []Behind) (wrong []string) {
	seen := map[string]bool{}
	for _, b := range table {
		pinned := ""
		for _, p := range pins {
			if p.Name == b.Name && (pinned == "" || p.Version == b.Version) {
				pinned = p.Version
			}
		}
		_, err := time.Parse(time.DateOnly, b.On)
		switch {
		case pinned == "":
			wrong = append(wrong, fmt.Sprintf("%s is not pinned any more", b.Name))
		case pinned != b.Version:
			wrong = append(wrong, fmt.Sprintf("%s is pinned at %s: the reason why it is %s is stale", b.Name, pinned, b.Version))
		case seen[b.Name]:
			wrong = append(wrong, fmt.Sprintf("%s is there twice", b.Name))
		case !semver.IsValid("v"+b.Version) || !semver.IsValid("v"+b.Newest) || semver.Compare("v"+b.Newest, "v"+b.Version) <= 0:
			wrong = append(wrong, fmt.Sprintf("%s: %s is not newer than %s", b.Name, b.Newest, b.Version))
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("%s: %q is no day", b.Name, b.On))
		case b.Why == "":
			wrong = append(wrong, fmt.Sprintf("%s: nothing says why it is not %s", b.Name, b.Newest))
		}
		seen[b.Name] = true
	}
	return wrong
}
