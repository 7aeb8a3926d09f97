package home

import (
	"cmp"
	"slices"

	"github.com/dchest/siphash"
)

// Rank orders nodes by their weight for an id, the highest first.
func Rank(id string, nodes []string) []string {
	type weighed struct {
		node   string
		weight uint64
	}
	all := make([]weighed, len(nodes))
	for i, n := range nodes {
		all[i] = weighed{n, siphash.Hash(0, 0, []byte(n+"\x00"+id))}
	}
	slices.SortFunc(all, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.node, b.node))
	})
	ranked := make([]string, len(all))
	for i, w := range all {
		ranked[i] = w.node
	}
	return ranked
}
