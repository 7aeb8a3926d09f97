package report

// Exit returns the exit code of a run, given that of its verdicts and Ginkgo's own: it is
// never better than Ginkgo's. What Ginkgo fails without a verdict has failed.
func Exit(verdicts, ginkgo int) int {
	if verdicts == ExitPassed && ginkgo != 0 {
		return ExitFailed
	}
	return verdicts
}
