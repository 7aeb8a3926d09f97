package netem

import (
	"math"
	"testing"
	"time"
)

const draws = 200_000

// sample draws from a model.
func sample(o Options, n int) trace {
	m := NewModel(o, 42)
	s := make(trace, n)
	for i := range s {
		delay, lost := m.Next()
		s[i] = packetFate{delay: delay, lost: lost}
	}
	return s
}

func options(t testing.TB, args ...string) Options {
	t.Helper()
	o, err := ParseOptions(args)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// near fails the test if got is further from want than the tolerance.
func near(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.4g, want %.4g ± %.2g", what, got, want, tolerance)
	}
}

// The tolerances are five standard errors or more.

func TestModelDelay(t *testing.T) {
	if s := sample(options(t, "delay", "200ms"), 100); s.min() != 200*time.Millisecond || s.max() != 200*time.Millisecond {
		t.Errorf("without jitter the delay is %s to %s", s.min(), s.max())
	}
	for _, correlation := range []string{"0", "50.000000", "99"} {
		s := sample(options(t, "delay", "200ms", "50ms", correlation), draws)
		if s.min() < 150*time.Millisecond || s.max() >= 250*time.Millisecond {
			t.Errorf("correlation %s: delays from %s to %s", correlation, s.min(), s.max())
		}
		near(t, "mean", s.mean(), 0.2, 0.0005)
		near(t, "spread", s.spread(), 0.1/math.Sqrt(12), 0.0003)
		for i := range 10 { // uniform
			near(t, "share of a tenth", s.share(150*time.Millisecond+time.Duration(i)*10*time.Millisecond, 10*time.Millisecond), 0.1, 0.005)
		}
		if correlation == "99" {
			if a := s.autocorrelation(); a < 0.3 {
				t.Errorf("autocorrelation %g at a correlation of 99 %%", a)
			}
			continue
		}
		near(t, "autocorrelation", s.autocorrelation(), 0, 0.015) // as in the kernel, see Model
	}
}

// TestModelDelayBelowZero: netem sends such a packet at once.
func TestModelDelayBelowZero(t *testing.T) {
	s := sample(options(t, "delay", "10ms", "20ms"), draws)
	if s.min() < -10*time.Millisecond || s.max() >= 30*time.Millisecond {
		t.Errorf("delays from %s to %s", s.min(), s.max())
	}
}

func TestModelLoss(t *testing.T) {
	s := sample(options(t, "loss", "10"), draws)
	near(t, "loss", s.loss(), 0.1, 0.004)
	near(t, "loss after a loss", s.lossAfterLoss(), 0.1, 0.011)
	if s := sample(options(t, "loss", "100"), 1000); s.loss() != 1 {
		t.Errorf("loss 100%%: %g", s.loss())
	}
	if s := sample(options(t), 1000); s.loss() != 0 {
		t.Errorf("no loss: %g", s.loss())
	}
}

// TestModelCorrelatedLoss holds the model to a second derivation.
func TestModelCorrelatedLoss(t *testing.T) {
	s := sample(options(t, "loss", "30", "25"), draws)
	near(t, "loss", s.loss(), lossAt25.loss, 0.01)
	near(t, "loss after a loss", s.lossAfterLoss(), lossAt25.repeated, 0.02)
	if s.lossAfterLoss() < s.loss()+0.05 {
		t.Errorf("loss %g, after a loss %g: not correlated", s.loss(), s.lossAfterLoss())
	}
}

// lossAt25 is what netem loss 30% 25% comes to: P(x ≤ 0.3), and the same given
// that the last x was, for the stationary x = 0.75 u + 0.25 (the last x).
var lossAt25 = stationary(0.3, 0.25)

type losses struct{ loss, repeated float64 }

// stationary finds the density of x by iteration on a grid.
func stationary(nominal, rho float64) losses {
	const cells = 1000
	f := make([]float64, cells)
	for i := range f {
		f[i] = 1.0 / cells
	}
	var loss, twice float64
	for range 20 {
		next := make([]float64, cells)
		loss, twice = 0, 0
		for i, p := range f {
			last := (float64(i) + 0.5) / cells
			low := rho * last
			for j := int(low * cells); j < int((1-rho+low)*cells); j++ {
				next[j] += p / ((1 - rho) * cells)
			}
			if last <= nominal {
				loss += p
				twice += p * max(0, nominal-low) / (1 - rho)
			}
		}
		f = next
	}
	return losses{loss, twice / loss}
}

// TestModelFullCorrelation: nothing ever changes.
func TestModelFullCorrelation(t *testing.T) {
	s := sample(options(t, "loss", "50", "100"), 1000)
	if s.loss() != 0 && s.loss() != 1 {
		t.Errorf("loss %g", s.loss())
	}
}
