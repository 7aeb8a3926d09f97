package netem

import (
	"strings"
	"testing"
	"time"
)

func TestParseOptions(t *testing.T) {
	const half, tenth, quarter = 0x80000000, 429496730, 0x40000000 // tc rounds to the nearest
	cases := map[string]struct {
		args  string
		want  Options
		shown string
	}{
		"Chaos Mesh's delay": {
			"delay 200ms 50ms 50.000000",
			Options{Latency: 200 * time.Millisecond, Jitter: 50 * time.Millisecond, DelayCorrelation: half, Limit: 1000},
			"limit 1000 delay 200ms  50ms 50%",
		},
		"Chaos Mesh's delay without jitter": {
			"delay 2s", Options{Latency: 2 * time.Second, Limit: 1000}, "limit 1000 delay 2s",
		},
		"Chaos Mesh's loss": {
			"loss 10.000000 25.000000", Options{Loss: tenth, LossCorrelation: quarter, Limit: 1000}, "limit 1000 loss 10% 25%",
		},
		"Chaos Mesh's delay, limit and loss": {
			"delay 1500us limit 20000 loss 10.000000",
			Options{Latency: 1500 * time.Microsecond, Loss: tenth, Limit: 20000}, "limit 20000 delay 1.5ms loss 10%",
		},
		"a number without a unit is in microseconds": {"latency 1000 20", Options{Latency: time.Millisecond, Jitter: 20 * time.Microsecond, Limit: 1000}, "limit 1000 delay 1ms  20us"},
		"units spelt out":                        {"delay 0.5sec 3msecs", Options{Latency: 500 * time.Millisecond, Jitter: 3 * time.Millisecond, Limit: 1000}, "limit 1000 delay 500ms  3ms"},
		"percent signs":                          {"drop random 10% 50%", Options{Loss: tenth, LossCorrelation: half, Limit: 1000}, "limit 1000 loss 10% 50%"},
		"everything is lost":                     {"loss 100", Options{Loss: 0xffffffff, Limit: 1000}, "limit 1000 loss 100%"},
		"nothing":                                {"", Options{Limit: 1000}, "limit 1000"},
		"jitter is capped as the kernel caps it": {"delay 5s 4s", Options{Latency: 5 * time.Second, Jitter: 1<<31 - 1, Limit: 1000}, "limit 1000 delay 5s  2.15s"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseOptions(strings.Fields(c.args))
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got.String() != c.shown {
				t.Errorf("shown as %q, want %q", got, c.shown)
			}
		})
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	for _, args := range []string{
		"delay", "delay fast", "delay 200parsecs", "delay -1ms", "delay 1ms 2ms 50% 3", "delay 1e99s", "delay NaN", "delay 200ms 50ms 101",
		"loss", "loss 101", "loss -1", "loss random", "loss state 1%", "loss gemodel 1%", "loss 1% ecn",
		"limit", "limit many", "limit -1", "limit 4294967296",
		"duplicate 1.000000", "corrupt 1.000000", "rate 1mbit", "delay 1ms reorder 25.000000 50.000000 gap 5", "delay 1ms 1ms distribution normal",
		"slot 1ms", "seed 1",
	} {
		if o, err := ParseOptions(strings.Fields(args)); err == nil {
			t.Errorf("%q was taken for %s", args, o)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add("delay 200ms 50ms 50.000000 limit 5 loss 10% 25%")
	f.Fuzz(func(t *testing.T, args string) {
		o, err := ParseOptions(strings.Fields(args))
		if err != nil {
			return
		}
		if o.Latency < 0 || o.Jitter < 0 || o.Jitter > 1<<31-1 {
			t.Errorf("%q: %+v", args, o)
		}
		NewModel(o, 1).Next() // it can be served
	})
}
