package verifier

import "fmt"

// verdicts are the labels of the verdicts, by their number in the program.
var verdicts = [bpfVerdictVERDICT_COUNT]string{
	bpfVerdictVERDICT_PASS:         "pass",
	bpfVerdictVERDICT_NOT_MESH:     "not_mesh",
	bpfVerdictVERDICT_MALFORMED:    "malformed",
	bpfVerdictVERDICT_NO_SESSION:   "no_session",
	bpfVerdictVERDICT_EXPIRED:      "expired",
	bpfVerdictVERDICT_REVOKED:      "revoked",
	bpfVerdictVERDICT_BAD_TAG:      "bad_tag",
	bpfVerdictVERDICT_REPLAY:       "replay",
	bpfVerdictVERDICT_RATE_LIMITED: "rate_limited",
}

// rules are the labels of the rules that malformed packets break, by their counters.
var rules = map[bpfCounter]string{
	bpfCounterCOUNTER_FRAGMENT: "fragment",
	bpfCounterCOUNTER_LENGTH:   "length",
	bpfCounterCOUNTER_HEADER:   "header",
	bpfCounterCOUNTER_HIDDEN:   "hidden",
}

// Counters returns how many packets got each verdict since Open, over all CPUs.
func (v *Verifier) Counters() (map[string]uint64, error) {
	counts := make(map[string]uint64, len(verdicts))
	for i, name := range verdicts {
		n, err := v.counter(uint32(i))
		if err != nil {
			return nil, err
		}
		counts[name] = n
	}
	return counts, nil
}

// Malformed returns how many malformed packets broke each rule since Open: fragment
// (an IP fragment), length (lengths that disagree), header (of the frame) and hidden
// (behind too many headers, or several datagrams in one packet). Their sum is the
// counter of the verdict.
func (v *Verifier) Malformed() (map[string]uint64, error) {
	counts := make(map[string]uint64, len(rules))
	for i, name := range rules {
		n, err := v.counter(uint32(i))
		if err != nil {
			return nil, err
		}
		counts[name] = n
	}
	return counts, nil
}

// Lost returns how many events (signature fragments and reports) found their
// ring full and were lost.
func (v *Verifier) Lost() (uint64, error) { return v.counter(uint32(bpfCounterCOUNTER_RING_LOST)) }

// Held returns how many reports were not made because their verdict's rate was
// used up.
func (v *Verifier) Held() (uint64, error) { return v.counter(uint32(bpfCounterCOUNTER_REPORT_HELD)) }

func (v *Verifier) counter(index uint32) (uint64, error) {
	var perCPU []uint64
	if err := v.obj.Counters.Lookup(index, &perCPU); err != nil {
		return 0, fmt.Errorf("read verifier counter %d: %w", index, err)
	}
	var sum uint64
	for _, n := range perCPU {
		sum += n
	}
	return sum, nil
}
