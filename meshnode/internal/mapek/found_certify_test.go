package mapek

import "testing"

// TestSequencesThatWereWrong plays the shortest sequences of each kind that the
// enumeration found to break one of its properties.
func TestSequencesThatWereWrong(t *testing.T) {
	const b, c, d = 0, 1, 2
	common := newCommon(drawnTogether())
	hanging := map[string]bool{"a session is invalidated again that has proved itself since": true}
	for name, steps := range map[string][]trail{
		"a session is invalidated again that has proved itself since": {
			{signal: signal{VerificationFailed, b, false}}, {signal: signal{VerificationFailed, b, false}}, {gap: 79, signal: signal{VerificationFailed, b, false}},
		},
		"a late verdict on one that has left opens an incident that nothing closes": {
			{signal: signal{Gone, b, false}}, {signal: signal{VerificationFailed, b, false}},
		},
		"the silence of one that crashed a moment ago is filed under the crash of another": {
			{signal: signal{Restarted, b, false}}, {signal: signal{Restarted, c, false}}, {signal: signal{Unreachable, b, false}},
		},
		"when an incident turns out to be a partition, ways leave also who is back": {
			{signal: signal{Restarted, b, false}}, {signal: signal{Unreachable, c, false}}, {signal: signal{Verified, b, false}}, {gap: 11, signal: signal{Unreachable, d, false}},
		},
	} {
		s := &space{wrong: map[string]*trail{}, rested: map[key]bool{}}
		e := atOnce
		if hanging[name] {
			e = hangs
		}
		m := newMachine(common, e)
		for _, step := range steps {
			m.wait(step.gap, Tick)
			m.give(step.signal)
			s.note(m, nil)
		}
		s.recover(m, nil)
		for w := range s.wrong {
			t.Errorf("%s: %s", name, w)
		}
	}
}
