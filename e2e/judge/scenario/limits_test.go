package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/fixtures"
)

func TestProfiles(t *testing.T) {
	if _, err := FindProfile("slow"); err == nil || !strings.Contains(err.Error(), "quick, full, nightly") {
		t.Errorf("got %v", err)
	}
	for _, p := range profiles {
		if p.Fault != 0 && p.Fault < AlertFor {
			t.Errorf("profile %s: %v is too short for the alerts", p.Name, p.Fault)
		}
		if got, err := FindProfile(p.Name); err != nil || got != p {
			t.Errorf("%s: got %v, %v", p.Name, got, err)
		}
		if nightly := (&Run{env: Env{Profile: p}}).Nightly(); nightly != (p.Name == "nightly") {
			t.Errorf("profile %s waits for minutes: %t", p.Name, nightly)
		}
	}
}

// The full profile and the nightly one take the document's durations, the quick one shortens
// them, and all leave the rest of the fixture as it is.
func TestProfilesAndTheFixture(t *testing.T) {
	for name, want := range map[string]time.Duration{"full": 60 * time.Second, "nightly": 60 * time.Second, "quick": 20 * time.Second} {
		p, err := FindProfile(name)
		if err != nil {
			t.Fatal(err)
		}
		o, err := fault.Load(fixtures.FS, "network-partition.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if p.Fault > 0 {
			if err := fault.Shorten(o, p.Fault, AlertFor); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := fault.Duration(o); err != nil || got != want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}
