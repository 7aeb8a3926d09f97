package lane

import "testing"

// left is how many lanes can be had at once.
func left(p *Pool) int { return len(p.free) }

func TestALaneIsOneScenarios(t *testing.T) {
	p := NewPool(2)
	a, b := p.Take(false), p.Take(false)
	if a.Lane() == b.Lane() || left(p) != 0 {
		t.Fatalf("lanes %d and %d, %d left", a.Lane(), b.Lane(), left(p))
	}
	a.End()
	a.End()
	if left(p) != 1 {
		t.Errorf("a lane whose scenario ended, told twice: %d free, want 1", left(p))
	}
	if c := p.Take(false); c.Lane() != a.Lane() {
		t.Errorf("the next one gets lane %d, and not the free one, %d", c.Lane(), a.Lane())
	}
}

func TestAllLanes(t *testing.T) {
	p := NewPool(3)
	all := p.Take(true)
	if left(p) != 0 {
		t.Errorf("%d lanes beside one that is alone", left(p))
	}
	if all.End(); left(p) != 3 {
		t.Errorf("%d of 3 lanes after it", left(p))
	}
}
