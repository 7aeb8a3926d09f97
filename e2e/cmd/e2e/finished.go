package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// readSummary reads what a run concluded.
func readSummary(dir string) (*report.Summary, error) {
	b, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		return nil, err
	}
	summary := &report.Summary{}
	if err := json.Unmarshal(b, summary); err != nil {
		return nil, fmt.Errorf("summary of %s: %w", dir, err)
	}
	return summary, nil
}

// commit is that of the working tree, with "+" if files of it have changed.
func commit(project string) string {
	out, err := exec.Command("git", "-C", project, "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	mark := ""
	if changed, err := exec.Command("git", "-C", project, "status", "--porcelain", "--untracked-files=no").Output(); err != nil || len(changed) > 0 {
		mark = "+"
	}
	return strings.TrimSpace(string(out)) + mark
}
