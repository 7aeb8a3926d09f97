package trial

import (
	"fmt"
	"strconv"
	"text/tabwriter"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// criteria writes the verdicts of what was judged, and returns the exit code that a run
// would have had with them. Nothing judged is nothing wrong: no criterion is about that fault.
func (t *teller) criteria(scenario string, all []report.Criterion) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(all) == 0 {
		_, err := fmt.Fprintln(t.out, "no criterion is about this fault alone")
		return report.ExitPassed, err
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nCRITERION\tVERDICT\tEXPECTED\tMEASURED\tUNIT\tPROVES\n")
	code := report.ExitPassed
	for _, c := range all {
		measured := "-"
		if c.Measured != nil {
			measured = strconv.FormatFloat(*c.Measured, 'g', 4, 64)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.Verdict, c.Expected, measured, c.Unit, c.Text)
		switch {
		case c.Verdict == report.Failed:
			code = report.ExitFailed
		case c.Verdict != report.Passed && code == report.ExitPassed:
			code = report.ExitInvalid
		}
	}
	if err := w.Flush(); err != nil {
		return report.ExitInvalid, err
	}
	for _, c := range all {
		if c.Verdict != report.Passed {
			fmt.Fprintf(t.out, "%s: %s\n", c.ID, c.Detail)
		}
	}
	_, err := fmt.Fprintf(t.out, "judged by journals, probers and clients' histories; make e2e-%s judges everything\n", scenario)
	return code, err
}
