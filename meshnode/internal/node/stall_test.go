package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	lies "github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestARepairThatStallsIsAnIncident: who names records and never hands them over is one, for every node that
// it names them to, and for nobody else. It is over when the peer names what there is.
func TestARepairThatStallsIsAnIncident(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		liar := zoneNames[4]
		h := m.turn(liar)
		m.up()
		defer m.down()
		if _, _, err := m.nodes[zoneNames[0]].Accept(t.Context(), "x", []byte("true"), 5); err != nil {
			t.Fatal(err)
		}
		open := func(want []string) error {
			for _, name := range zoneNames[:4] {
				if got := m.nodes[name].openIncidents(); !slices.Equal(got, want) {
					return fmt.Errorf("%s: open %v", name, got)
				}
			}
			return nil
		}
		time.Sleep(time.Minute)
		if err := open(nil); err != nil {
			t.Fatalf("while it is honest: %v", err)
		}
		h.says(func(_ string, typ frame.Type, payload []byte) [][]byte {
			if typ != frame.Data || !lies.IsSummary(payload) {
				return [][]byte{payload}
			}
			b, err := lies.Naming(payload, liar+"/00000000000000ff")
			if err != nil {
				t.Error(err)
			}
			return [][]byte{b}
		})
		m.within(2*time.Minute, "an incident about the liar on every node", func() error {
			return open([]string{metric.RepairStalled + " of " + liar})
		})
		if err := m.unharmed(liar); err != nil {
			t.Error(err)
		}
		// What others hand over goes on, and does not excuse the liar.
		for i := range 3 {
			if _, holders, err := m.nodes[zoneNames[i]].Accept(t.Context(), fmt.Sprint(i), []byte("kept"), 4); err != nil {
				t.Errorf("record %d is held by %v: %v", i, holders, err)
			}
		}
		time.Sleep(time.Minute)
		if err := open([]string{metric.RepairStalled + " of " + liar}); err != nil {
			t.Errorf("while it goes on: %v", err)
		}
		h.says(nil)
		m.within(time.Minute, "it is over", func() error { return open(nil) })
	})
}
