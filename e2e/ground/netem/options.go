package netem

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// defaultLimit is how many packets netem holds when it is told nothing else.
const defaultLimit = 1000

// share is a probability or a correlation in netem's unit: 0 is never, the
// largest value always.
type share uint32

// Options is what is asked of netem.
type Options struct {
	Latency          time.Duration
	Jitter           time.Duration // the delay is uniform in Latency ± Jitter
	DelayCorrelation share
	Loss             share
	LossCorrelation  share
	Limit            uint32 // packets held at a time; those beyond it are dropped
}

// errUnserved is the error of what netem may know but the stand-in does not.
var errUnserved = errors.New("not served in userspace")

// ParseOptions reads what follows the word netem, in the grammar of tc-netem(8):
//
//	[limit PACKETS] [delay|latency TIME [JITTER [CORRELATION]]] [loss|drop [random] PERCENT [CORRELATION]]
//
// Every other option is refused.
func ParseOptions(args []string) (Options, error) {
	o := Options{Limit: defaultLimit}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		var err error
		switch word {
		case "limit":
			args, err = o.limit(args)
		case "delay", "latency":
			args, err = o.delay(args)
		case "loss", "drop":
			args, err = o.loss(args)
		default:
			err = errUnserved
		}
		if err != nil {
			return Options{}, fmt.Errorf("netem %s: %w", word, err)
		}
	}
	return o, nil
}

func (o *Options) limit(args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, errors.New("no number of packets")
	}
	n, err := strconv.ParseUint(args[0], 0, 31)
	o.Limit = uint32(n)
	return args[1:], err
}

func (o *Options) delay(args []string) (_ []string, err error) {
	if len(args) == 0 {
		return nil, errors.New("no time")
	}
	if o.Latency, err = parseTime(args[0]); err != nil {
		return nil, err
	}
	if args = args[1:]; !isNumber(args) {
		return args, nil
	}
	if o.Jitter, err = parseTime(args[0]); err != nil {
		return nil, err
	}
	// The kernel caps it, too (netem_change).
	o.Jitter = min(o.Jitter, math.MaxInt32)
	if args = args[1:]; !isNumber(args) {
		return args, nil
	}
	o.DelayCorrelation, err = parsePercent(args[0])
	return args[1:], err
}

func (o *Options) loss(args []string) (_ []string, err error) {
	if len(args) > 0 && args[0] == "random" {
		args = args[1:]
	}
	if !isNumber(args) {
		return nil, errUnserved // state, gemodel, ecn
	}
	if o.Loss, err = parsePercent(args[0]); err != nil {
		return nil, err
	}
	if args = args[1:]; !isNumber(args) {
		return args, nil
	}
	o.LossCorrelation, err = parsePercent(args[0])
	return args[1:], err
}

// isNumber tells whether the next argument is a value and not an option.
func isNumber(args []string) bool {
	return len(args) > 0 && args[0] != "" && strings.Contains("0123456789.", args[0][:1])
}

// units are those of tc(8) for times. A number without one is in microseconds.
var units = map[string]time.Duration{
	"":  time.Microsecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second,
	"ms": time.Millisecond, "msec": time.Millisecond, "msecs": time.Millisecond,
	"us": time.Microsecond, "usec": time.Microsecond, "usecs": time.Microsecond,
	"ns": time.Nanosecond, "nsec": time.Nanosecond, "nsecs": time.Nanosecond,
}

func parseTime(s string) (time.Duration, error) {
	n := len(strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyz"))
	unit, ok := units[s[n:]]
	value, err := strconv.ParseFloat(s[:n], 64)
	ns := math.RoundToEven(value * float64(unit))
	if !ok || err != nil || !(ns >= 0 && ns < math.MaxInt64) {
		return 0, fmt.Errorf("%q is no time", s)
	}
	return time.Duration(ns), nil
}

func parsePercent(s string) (share, error) {
	value, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(value >= 0 && value <= 100) {
		return 0, fmt.Errorf("%q is no percentage", s)
	}
	return share(math.RoundToEven(value / 100 * math.MaxUint32)), nil
}

// String writes the options as tc shows them.
func (o Options) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "limit %d", o.Limit)
	if o.Latency > 0 {
		fmt.Fprintf(&b, " delay %s", formatTime(o.Latency))
		if o.Jitter > 0 {
			fmt.Fprintf(&b, "  %s%s", formatTime(o.Jitter), correlation(o.DelayCorrelation))
		}
	}
	if o.Loss > 0 {
		fmt.Fprintf(&b, " loss %s%s", o.Loss, correlation(o.LossCorrelation))
	}
	return b.String()
}

func (s share) String() string { return fmt.Sprintf("%.4g%%", 100*float64(s)/math.MaxUint32) }

func correlation(s share) string {
	if s == 0 {
		return ""
	}
	return " " + s.String()
}

// formatTime follows tc's print_time64.
func formatTime(d time.Duration) string {
	for _, u := range []string{"s", "ms", "us"} {
		if d >= units[u] {
			return fmt.Sprintf("%.3g%s", float64(d)/float64(units[u]), u)
		}
	}
	return fmt.Sprintf("%dns", d)
}
