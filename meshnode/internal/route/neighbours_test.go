package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func members(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("mesh-node-a-%d", i)
	}
	return names
}

// hops returns the longest of the shortest ways from one node, and how many
// nodes it reaches.
func hops(neighbours map[string][]string, from string) (longest, reached int) {
	at := map[string]int{from: 0}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		longest = at[todo[0]]
		for _, n := range neighbours[todo[0]] {
			if _, seen := at[n]; !seen {
				at[n] = longest + 1
				todo = append(todo, n)
			}
		}
	}
	return longest, len(at)
}

func TestNeighbours(t *testing.T) {
	for _, n := range []int{1, 2, 5, FullMesh, FullMesh + 1, 14, 50, 500} {
		names := members(n)
		shuffled := slices.Clone(names)
		rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		all := map[string][]string{}
		most := 0
		for _, name := range names {
			all[name] = Neighbours(name, names)
			most = max(most, len(all[name]))
			// Neither the order nor whether self is listed matters.
			without := slices.DeleteFunc(slices.Clone(shuffled), func(s string) bool { return s == name })
			if !slices.Equal(all[name], Neighbours(name, shuffled)) || !slices.Equal(all[name], Neighbours(name, without)) {
				t.Errorf("%d nodes: %s chooses otherwise from the same members", n, name)
			}
		}
		for _, a := range names {
			if slices.Contains(all[a], a) {
				t.Errorf("%d nodes: %s is its own neighbour", n, a)
			}
			for _, b := range all[a] {
				if !slices.Contains(all[b], a) {
					t.Errorf("%d nodes: %s chooses %s and not the other way", n, a, b)
				}
			}
		}
		if want := min(n-1, 2*Rings); n <= FullMesh && most != n-1 || n > FullMesh && most > want {
			t.Errorf("%d nodes: up to %d neighbours", n, most)
		}
		longest, reached := hops(all, names[0])
		if reached != n || longest > 6 {
			t.Errorf("%d nodes: %d reached in at most %d hops", n, reached, longest)
		}
		t.Logf("%d nodes: at most %d neighbours, %d hops", n, most, longest)
	}
}

// Who comes or goes disturbs few.
func TestNeighboursChangeLittle(t *testing.T) {
	before, after := members(50), members(51)
	changed := 0
	for _, n := range before {
		if !slices.Equal(Neighbours(n, before), Neighbours(n, after)) {
			changed++
		}
	}
	if changed == 0 || changed > 2*Rings {
		t.Errorf("one more node changes the neighbours of %d", changed)
	}
}

// The mesh stays whole although nodes are lost.
func TestNeighboursSurviveLosses(t *testing.T) {
	names := members(100)
	all := map[string][]string{}
	for _, n := range names {
		all[n] = Neighbours(n, names)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		left := map[string][]string{}
		for _, i := range rng.Perm(len(names))[:80] {
			left[names[i]] = nil
		}
		start := ""
		for n := range left {
			left[n] = slices.DeleteFunc(slices.Clone(all[n]), func(o string) bool { _, ok := left[o]; return !ok })
			start = max(start, n)
		}
		if _, reached := hops(left, start); reached < 79 { // one may have lost all of its 8
			t.Errorf("%d of 80 survivors are connected", reached)
		}
	}
}
