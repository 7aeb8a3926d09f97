package route

import (
	"crypto/sha256"
	"slices"
)

const (
	// FullMesh is the size up to which all nodes are neighbours. Beyond it their
	// heartbeats and attestations alone would cost more than the bounded set.
	FullMesh = 12
	// Rings is the number of rings that a larger mesh is made of.
	Rings = 4
)

// Neighbours returns the neighbours of self among the members of the mesh,
// sorted: all others up to FullMesh members, and beyond that those before and
// after it on each of Rings rings, which order the members by a hash. Every node
// computes the same rings from the same members, so that the choice is
// symmetric; each ring alone connects all; the union of random rings is an
// expander, whose diameter grows with the logarithm of its size (Law and Siu,
// "Distributed Construction of Random Expander Networks", INFOCOM 2003); and who
// comes or goes changes the neighbours of at most 2*Rings others.
func Neighbours(self string, members []string) []string {
	all := append(slices.Clone(members), self)
	slices.Sort(all)
	all = slices.Compact(all)
	var chosen []string
	if len(all) <= FullMesh {
		chosen = all
	} else {
		for ring := range byte(Rings) {
			place := func(name string) string {
				sum := sha256.Sum256(append([]byte{ring}, name...))
				return string(sum[:]) + name
			}
			// The nearest places on either side, around the end if there are none.
			own := place(self)
			var before, after, first, last string
			for _, name := range all {
				p := place(name)
				switch {
				case p < own:
					before = max(before, p)
				case p > own && (after == "" || p < after):
					after = p
				}
				if first == "" || p < first {
					first = p
				}
				last = max(last, p)
			}
			if before == "" {
				before = last
			}
			if after == "" {
				after = first
			}
			chosen = append(chosen, before[sha256.Size:], after[sha256.Size:])
		}
		slices.Sort(chosen)
		chosen = slices.Compact(chosen)
	}
	return slices.DeleteFunc(chosen, func(name string) bool { return name == self })
}
