package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Variables that GitHub's runner sets for a job.
const (
	githubActions = "GITHUB_ACTIONS"
	githubSummary = "GITHUB_STEP_SUMMARY" // a file to which Markdown may be added
)

// Publish tells people how a run went: the table, and where GitHub runs it the summary of
// the job's page and an annotation for each criterion that did not pass. getenv is
// os.Getenv.
func Publish(w io.Writer, s *Summary, dir string, getenv func(string) string) error {
	err := Table(w, s, dir)
	if getenv(githubActions) == "true" {
		err = errors.Join(err, annotate(w, s))
	}
	if path := getenv(githubSummary); path != "" {
		err = errors.Join(err, add(path, Markdown(s)))
	}
	return err
}

// annotate writes GitHub's commands for annotations: an error for each criterion that
// failed, was aborted, or that nothing can be concluded of, and for what could not be cleaned up.
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
func annotate(w io.Writer, s *Summary) error {
	var b strings.Builder
	for _, sc := range s.Scenarios {
		for _, c := range sc.Criteria {
			if c.Verdict == Passed || c.Verdict == NotSupported {
				continue
			}
			where := ""
			if c.file != "" {
				where = fmt.Sprintf("file=%s,line=%d,", property.Replace(c.file), c.line)
			}
			title := fmt.Sprintf("%s %s: %s", c.ID, c.Verdict, sc.Name)
			fmt.Fprintf(&b, "::error %stitle=%s::%s\n", where, property.Replace(title), message.Replace(c.Title()+": "+c.outcome()))
		}
	}
	for _, what := range s.Cleanup {
		fmt.Fprintf(&b, "::error title=Cleanup failed::%s\n", message.Replace(what))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// How the runner reads a command back: a message of one line, and in a property neither
// colon nor comma.
var (
	message  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// add adds to a file that others may have begun.
func add(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("summary of the job: %w", err)
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Close())
}
