package trend

import (
	"cmp"
	"slices"
)

// chance returns how likely it is that two groups of values differ in rank as much as these
// do, or more, in either direction, if nothing distinguishes them: the exact test of Wilcoxon,
// and of Mann and Whitney, with the mean of their ranks for equal values. It assumes nothing
// of how the values are spread. With no values in a group it is 1.
func chance(before, after []float64) float64 {
	if len(before) < len(after) {
		before, after = after, before // the fewer, the less to count
	}
	ranks := ranked(slices.Concat(before, after))
	observed := 0
	for _, r := range ranks[len(before):] {
		observed += r
	}
	// ways[k][s] is how many choices of k of the values have the sum s of ranks; as shares
	// of all choices they would be lost in rounding, as counts they are exact to 2^53.
	total := 0
	for _, r := range ranks {
		total += r
	}
	ways := make([][]float64, len(after)+1)
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for _, r := range ranks {
		for k := len(after); k > 0; k-- {
			for s := total; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	all, less, more := 0.0, 0.0, 0.0
	for s, n := range ways[len(after)] {
		all += n
		if s <= observed {
			less += n
		}
		if s >= observed {
			more += n
		}
	}
	return min(1, 2*min(less, more)/all)
}

// ranked returns twice the rank of each value, so that the mean of ranks is whole.
func ranked(values []float64) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	ranks := make([]int, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			ranks[k] = i + j + 1 // twice the mean of i+1 … j
		}
		i = j
	}
	return ranks
}

// median returns the middle of values, of which there must be some.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
