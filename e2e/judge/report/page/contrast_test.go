package page

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestContrast: who sees contrasts badly reads the page in both of its colour schemes.
func TestContrast(t *testing.T) {
	for _, f := range faint(t, source) {
		t.Error(f)
	}
	for from, to := range map[string]string{"--dim: #57606a": "--dim: #8c959f", "--c7: #ff7b72": "--c7: #6e2a26", "--good: #116329;": ""} {
		name, _, _ := strings.Cut(from, ":")
		if got := faint(t, strings.Replace(source, from, to, 1)); len(got) == 0 || !strings.Contains(got[0], name+" ") {
			t.Errorf("with %q in place of %q nobody misses %s: %q", to, from, name, got)
		}
	}
	for _, c := range []struct {
		a, b string
		want float64
	}{{"#000", "#ffffff", 21}, {"#777777", "#fff", 4.48}, {"#123456", "#123456", 1}} {
		if got := contrast(t, c.a, c.b); math.Abs(got-c.want) > 0.005 {
			t.Errorf("the contrast of %s and %s is %.2f, not %.2f", c.a, c.b, got, c.want)
		}
	}
}

var (
	schemes = regexp.MustCompile(`:root \{([^}]*)\}`)
	custom  = regexp.MustCompile(`(--[a-z0-9]+): (#[0-9a-f]+);`)
)

// faint are the colours of a style sheet that do not stand out enough (WCAG 2.2: 1.4.3 for text, 1.4.11
// for what is drawn). The lines of charts may lie over the band of a fault. That itself and the
// grid are no colours to read by: the band has edges, and the axes have numbers.
func faint(t *testing.T, css string) (wrong []string) {
	t.Helper()
	tones := func(all ...int) (names []string) {
		for _, n := range all {
			names = append(names, fmt.Sprintf("--c%d", n))
		}
		return names
	}
	strokes := tones(toneInk, toneBar, toneGood, toneRetry, toneBad)
	for n := range lines {
		strokes = append(strokes, tones(toneLine+n)...)
	}
	found := schemes.FindAllStringSubmatch(css, -1)
	if len(found) != 2 {
		t.Fatalf("%d colour schemes, not a light and a dark one", len(found))
	}
	for i, scheme := range []string{"light", "dark"} {
		colour := map[string]string{}
		for _, m := range custom.FindAllStringSubmatch(found[i][1], -1) {
			colour[m[1]] = m[2]
		}
		for _, c := range []struct {
			least    float64
			what, on []string
		}{
			{4.5, append(tones(toneInk), "--text", "--dim", "--link", "--good", "--bad", "--unsure"), []string{"--page", "--card"}},
			{3, strokes, append(tones(toneBand), "--page", "--card")},
		} {
			for _, what := range c.what {
				for _, on := range c.on {
					if colour[what] == "" || colour[on] == "" {
						wrong = append(wrong, fmt.Sprintf("%s on %s has no colour in the %s scheme", what, on, scheme))
					} else if got := contrast(t, colour[what], colour[on]); got < c.least {
						wrong = append(wrong, fmt.Sprintf("%s on %s has a contrast of %.2f in the %s scheme, at least %g", what, on, got, scheme, c.least))
					}
				}
			}
		}
	}
	return wrong
}

// contrast is the ratio of two colours, from 1 to 21, as WCAG 2 defines it.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// luminance is the relative luminance of a colour in sRGB, such as #fff or #0d1117.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	digits := strings.TrimPrefix(colour, "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	n, err := strconv.ParseUint(digits, 16, 24)
	if err != nil || len(digits) != 6 {
		t.Fatalf("%s is no colour", colour)
	}
	sum := 0.0
	for shift, weight := range map[uint]float64{16: 0.2126, 8: 0.7152, 0: 0.0722} {
		channel := n >> shift & 0xff
		v := float64(channel) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}
