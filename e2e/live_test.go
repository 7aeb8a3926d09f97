package e2e

import (
	"os"
	"slices"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/x0tta6bl4/mesh/e2e/judge/live"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

// What a lane's process tells the one that runs it, and how that shows it.

// toDriver returns the sender of a lane's process to the one that runs it; nil in any other.
func toDriver() *live.Sender {
	if inLane() == "" {
		return nil
	}
	syscall.CloseOnExec(eventsFile)
	if err := syscall.SetNonblock(eventsFile, true); err != nil { // so that a write can have a deadline
		return nil
	}
	return live.NewSender(impatient{os.NewFile(eventsFile, "events")}, planned()[0].Name)
}

// impatient is a file that drops what nobody takes in time: who judges waits for no reader.
type impatient struct{ *os.File }

func (f impatient) Write(p []byte) (int, error) {
	if err := f.SetWriteDeadline(time.Now().Add(tellsWithin)); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

// ginkgosOwn reports whether Ginkgo's own output is wanted.
func ginkgosOwn() bool {
	_, reporter := GinkgoConfiguration()
	return reporter.Verbosity().GTE(types.VerbosityLevelVerbose)
}

// show begins to show the run.
func show(all []*scenario.Scenario) live.View {
	if ginkgosOwn() {
		return live.Lines(os.Stderr, suite.started)
	}
	var names []string
	for _, sc := range all {
		names = append(names, sc.Name)
	}
	return live.Show(os.Stdout, os.Stderr, live.NewState(suiteName+", "+suite.options.profile.Name, suite.started, names...), os.Getenv)
}

// barOf is the bar of a scenario's criterion, as its registry has it.
func barOf(sc *scenario.Scenario, id string) string {
	i := slices.IndexFunc(sc.Criteria, func(c scenario.Criterion) bool { return c.ID == id })
	if i < 0 {
		return ""
	}
	return sc.Criteria[i].Bar
}
