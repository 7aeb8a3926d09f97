// Package report turns a run into what it leaves behind: summary.json, which
// summary.schema.json describes, junit.xml, ginkgo.json, summary.md, the table at the
// end, and what GitHub shows of a job. It decides the verdicts, and the verdicts decide
// the exit code.
//
// # Map
//
//	summary, bar, abort, timeline
//	                      what a run's summary holds
//	build, write          from Ginkgo's report; into the run's directory
//	junit, markdown, publish
//	                      the forms that others read
//	exit                  the exit code
//	times                 how long parts of a run took the last time
//	pack, redact          what a bug report needs, without secrets
package report
