package node

import "slices"

// renamings are the permutations of the nodes of a mesh.
func renamings(size int) [][]int {
	if size == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range renamings(size - 1) {
		for i := range size {
			all = append(all, slices.Insert(slices.Clone(p), i, size-1))
		}
	}
	return all
}

// renamed gives the nodes other names.
func (c cuts) renamed(size int, names []int) cuts {
	var r cuts
	for a := range size {
		for b := range size {
			if c.has(size, a, b) {
				r = r.with(size, names[a], names[b])
			}
		}
	}
	return r
}

// classes are the sets of links up to renaming, by their smallest member.
func classes(size int, sets []cuts) []cuts {
	var least []cuts
	names := renamings(size)
	for _, s := range sets {
		if !slices.ContainsFunc(names, func(n []int) bool { return s.renamed(size, n) < s }) {
			least = append(least, s)
		}
	}
	return least
}

// changes are the ordered pairs of different sets that are not empty, up to renaming: the
// first is the smallest of its class, the second the smallest among those that the
// renamings make of it that leave the first as it is.
func changes(size int) [][2]cuts {
	sets, names := everySet(size), renamings(size)
	var all [][2]cuts
	for _, a := range classes(size, sets) {
		same := slices.DeleteFunc(slices.Clone(names), func(n []int) bool { return a.renamed(size, n) != a })
		for _, b := range sets {
			if a == 0 || b == 0 || a == b || slices.ContainsFunc(same, func(n []int) bool { return b.renamed(size, n) < b }) {
				continue
			}
			all = append(all, [2]cuts{a, b})
		}
	}
	return all
}
