package scenario

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
)

// TestOpening: a scenario that opens as one turn has it from its mesh until its first fault bites, and takes
// the turn of that fault meanwhile. Others wait, and get theirs also where no fault ever comes, or the
// mesh was never made.
func TestOpening(t *testing.T) {
	failed := errors.New("no mesh")
	for what, c := range map[string]struct {
		opens bool
		made  error
		keeps bool
	}{
		"one that opens":           {true, nil, true},
		"one that does not":        {false, nil, false},
		"one whose mesh is no one": {true, failed, false},
	} {
		t.Run(what, func(t *testing.T) {
			book := filepath.Join(t.TempDir(), "turns")
			run := func(opens bool) *Run {
				return &Run{Scenario: &Scenario{Name: "x", Opens: opens}, env: Env{Turns: lane.Open(book)}}
			}
			one, other := run(c.opens), run(false)
			free := func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
				defer cancel()
				turn, err := other.turn(ctx, "make the mesh", lane.Span{To: makes, Open: true})
				if err != nil {
					return false
				}
				if err := turn.Done(); err != nil {
					t.Error(err)
				}
				return true
			}
			turn, err := one.turn(t.Context(), "make the mesh", lane.Span{To: makes, Open: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := one.made(turn, c.made); !errors.Is(err, c.made) {
				t.Errorf("the mesh: %v", err)
			}
			if free() == c.keeps {
				t.Errorf("others may go on: %v", !c.keeps)
			}
			fault, err := one.turn(t.Context(), "inject", disturbance(time.Minute)...)
			if err != nil {
				t.Fatalf("its own first fault: %v", err)
			}
			if err := errors.Join(fault.Done(), one.opened(), one.opened()); err != nil {
				t.Error(err)
			}
			if !free() {
				t.Error("others still wait when the fault has bitten")
			}
			if turn, err = one.turn(t.Context(), "make the mesh", lane.Span{To: makes, Open: true}); err != nil {
				t.Fatal(err)
			}
			if err := one.made(turn, nil); err != nil {
				t.Error(err)
			}
			if err := one.InTurn(t.Context(), func() error { return nil }); err != nil {
				t.Error(err)
			}
			if !free() {
				t.Error("others still wait when it is removed without a fault")
			}
		})
	}
}
