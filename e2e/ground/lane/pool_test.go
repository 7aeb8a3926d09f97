package lane

import (
	"runtime"
	"testing"
)

// left is how many lanes can be had at once.
func left(p *Pool) int { return len(p.free) }

func TestALaneIsLeftEarly(t *testing.T) {
	p := NewPool(2)
	a, b := p.Take(false, false), p.Take(false, false)
	if a.Lane() == b.Lane() || left(p) != 0 {
		t.Fatalf("lanes %d and %d, %d left", a.Lane(), b.Lane(), left(p))
	}
	a.Leave(func() {
		if left(p) != 0 {
			t.Error("the lane is another's before it is told of")
		}
	})
	if left(p) != 1 {
		t.Error("its mesh goes, and its lane is not free")
	}
	a.End()
	if left(p) != 1 {
		t.Errorf("a lane that was left, and ended: %d free, want 1", left(p))
	}
	b.End()
	if left(p) != 2 {
		t.Errorf("a lane that was never left, and ended: %d free, want 2", left(p))
	}
}

// TestNoThirdMeshBesideAHeavyOne: a lane beside it is free when the mesh in it is gone, and as
// ever once the heavy one's work is done.
func TestNoThirdMeshBesideAHeavyOne(t *testing.T) {
	told := 0
	begins := NewPool(1)
	first := begins.Take(false, false)
	took := make(chan struct{})
	go func() { begins.Take(false, true); close(took) }()
	for begins.heavy.Load() == 0 {
		runtime.Gosched()
	}
	if first.Leave(func() { told++ }); told != 0 {
		t.Error("a heavy one gets a lane in which a mesh still goes")
	}
	first.End()
	<-took
	tell := func() { told++ }
	p := NewPool(2)
	heavy, a := p.Take(false, true), p.Take(false, false)
	if a.Leave(tell); left(p) != 0 || told != 0 {
		t.Error("a third mesh beside a heavy one")
	}
	if a.End(); left(p) != 1 {
		t.Error("no lane after the end")
	}
	b := p.Take(false, false)
	if heavy.Leave(tell); left(p) != 1 || told != 1 {
		t.Error("a heavy one holds its own lane")
	}
	heavy.End()
	if b.Leave(tell); left(p) != 2 || told != 2 {
		t.Error("it is heavy after its end")
	}
}

func TestAllLanes(t *testing.T) {
	p := NewPool(3)
	all := p.Take(true, false)
	if left(p) != 0 {
		t.Errorf("%d lanes beside one that is alone", left(p))
	}
	if all.Leave(func() {}); left(p) != 3 {
		t.Errorf("%d of 3 lanes after it", left(p))
	}
}
