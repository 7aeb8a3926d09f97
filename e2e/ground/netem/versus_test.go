package netem

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// moduleVariable names the file of sch_netem for a kernel that has it as a module.
const moduleVariable = "NETEM_TEST_MODULE"

// TestAgainstTheKernel measures the kernel's netem and the stand-in one after the
// other and compares them. It is the last, because it loads the kernel's.
func TestAgainstTheKernel(t *testing.T) {
	a, b := pair(t)
	if !kernelHasNetem(t, a) {
		file := os.Getenv(moduleVariable)
		if file == "" {
			t.Skip("this kernel has no sch_netem: make test-kernel compares in one that has")
		}
		loadModule(t, file)
	}
	t.Run("handed over", TestServesWhatTheKernelLacks)

	delays := flow{packets: 1000, burst: 1, every: 5 * time.Millisecond, wait: 3 * time.Second}
	losses := flow{packets: 10000, burst: 4, every: 2 * time.Millisecond, wait: time.Second}
	for _, c := range []struct {
		options string
		flow    flow
	}{
		{"delay 200ms", delays},
		{"delay 200ms 50ms", delays},
		{"delay 200ms 50ms 50.000000", delays},
		{"delay 200ms 50ms 99.000000", delays}, // where the correlation shows
		{"delay 10ms 20ms", delays},
		{"loss 10.000000", losses},
		{"loss 30.000000 25.000000", losses},
		{"loss 50.000000 75.000000", losses},
		{"delay 50ms 10ms 50.000000 loss 20.000000 25.000000 limit 5000", losses},
	} {
		t.Run(c.options, func(t *testing.T) {
			add := append(words("qdisc add dev eth0 root handle 1: netem"), words(c.options)...)
			if r := a.realTCOn(t, add...); r.status != 0 {
				t.Fatalf("%+v", r)
			}
			kernelShows := a.realTCOn(t, words("qdisc show dev eth0")...)
			kernel := measure(t, a, b, c.flow)
			if r := a.realTCOn(t, words("qdisc del dev eth0 root")...); r.status != 0 {
				t.Fatalf("%+v", r)
			}

			a.serve(t, c.options)
			shows := a.tc(t, words("qdisc show dev eth0")...)
			standIn := measure(t, a, b, c.flow)
			a.remove(t)

			// The number of references follows the device's queues; a later tc shows the kernel's seed, too.
			k, s := references.ReplaceAllString(kernelShows.out, ""), references.ReplaceAllString(shows.out, "")
			if !strings.HasPrefix(strings.TrimSpace(k), strings.TrimSpace(s)) {
				t.Errorf("shown %q, the kernel's %q", shows.out, kernelShows.out)
			}
			t.Logf("%-14s %12s %12s", "", "kernel", "stand-in")
			compare := func(what string, of func(trace) float64, tolerance float64) {
				t.Helper()
				k, s := of(kernel), of(standIn)
				t.Logf("%-14s %12.4f %12.4f  ± %.3f", what, k, s, tolerance)
				near(t, what, s, k, tolerance)
			}
			compare("loss", trace.loss, 0.02)
			if strings.Contains(c.options, "loss") {
				compare("loss repeated", trace.lossAfterLoss, 0.06)
			}
			if c.flow == losses {
				return // too fast for an emulated machine for its delays to mean anything
			}
			compare("mean delay", trace.mean, 0.015)
			for _, q := range []float64{0.1, 0.5, 0.9} {
				compare(fmt.Sprintf("quantile %g", q), func(s trace) float64 { return s.quantile(q) }, 0.015)
			}
			if strings.Contains(c.options, "50ms") { // there is jitter
				compare("spread", trace.spread, 0.004)
				compare("autocorrelation", trace.autocorrelation, 0.15)
			}
		})
	}
}

func loadModule(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		t.Fatalf("load %s: %v", file, err)
	}
}
