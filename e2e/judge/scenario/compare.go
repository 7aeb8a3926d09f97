package scenario

// Differences returns by how much each value is above its counterpart. One
// without a counterpart is left out.
func Differences(before, after map[string]float64) map[string]float64 {
	return compare(before, after, func(b, a float64) float64 { return a - b })
}

// Ratios returns each value's share of its counterpart. One without a
// counterpart, or with none above 0, is left out.
func Ratios(before, after map[string]float64) map[string]float64 {
	above := map[string]float64{}
	for name, b := range before {
		if b > 0 {
			above[name] = b
		}
	}
	return compare(above, after, func(b, a float64) float64 { return a / b })
}

func compare(before, after map[string]float64, how func(b, a float64) float64) map[string]float64 {
	out := map[string]float64{}
	for name, a := range after {
		if b, ok := before[name]; ok {
			out[name] = how(b, a)
		}
	}
	return out
}
