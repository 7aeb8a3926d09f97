package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/onsi/ginkgo/v2/reporters"
	"github.com/onsi/ginkgo/v2/types"
	"golang.org/x/sys/unix"
)

// latest is the link to the newest run, summaryFile what each run has.
const (
	latest      = "latest"
	summaryFile = "summary.json"
)

// NewDir makes the directory of a run under root and lets root/latest point to
// it.
func NewDir(root string, started time.Time) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("artifacts: %w", err)
	}
	stamp := started.UTC().Format("20060102T150405Z")
	dir := filepath.Join(root, stamp)
	for n := 2; ; n++ {
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("artifacts: %w", err)
		}
		dir = filepath.Join(root, stamp+"-"+strconv.Itoa(n))
	}
	// A rename replaces the old link at once.
	link := filepath.Join(root, "."+latest+"-"+strconv.Itoa(os.Getpid()))
	if err := os.Symlink(filepath.Base(dir), link); err != nil {
		return "", fmt.Errorf("artifacts: %w", err)
	}
	if err := os.Rename(link, filepath.Join(root, latest)); err != nil {
		return "", fmt.Errorf("artifacts: %w", errors.Join(err, os.Remove(link)))
	}
	return dir, nil
}

// Write writes summary.json, summary.md, junit.xml and ginkgo.json into dir.
func Write(dir string, s *Summary, r types.Report) error {
	b, err := json.MarshalIndent(s.filled(), "", "  ")
	if err != nil {
		return fmt.Errorf("summary.json: %w", err)
	}
	j, err := xml.MarshalIndent(junit(s), "", "  ")
	if err != nil {
		return fmt.Errorf("junit.xml: %w", err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, summaryFile), append(b, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "junit.xml"), append([]byte(xml.Header), append(j, '\n')...), 0o644),
		os.WriteFile(filepath.Join(dir, "summary.md"), []byte(Markdown(s)), 0o644),
		reporters.GenerateJSONReport(encodable(r), filepath.Join(dir, "ginkgo.json")),
	)
}

// WriteSuite writes the report of one suite, for ReadSuite.
func WriteSuite(file string, r types.Report) error {
	return reporters.GenerateJSONReport(encodable(r), file)
}

// ReadSuite reads the report of one suite.
func ReadSuite(file string) (types.Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return types.Report{}, err
	}
	var all []types.Report
	if err := json.Unmarshal(b, &all); err != nil {
		return types.Report{}, fmt.Errorf("%s: %w", file, err)
	}
	if len(all) != 1 {
		return types.Report{}, fmt.Errorf("%s: %d suites, not one", file, len(all))
	}
	return all[0], nil
}

// Read reads the summary of a run from its directory.
func Read(dir string) (*Summary, error) {
	b, err := os.ReadFile(filepath.Join(dir, summaryFile))
	if err != nil {
		return nil, err
	}
	var s Summary
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", summaryFile, dir, err)
	}
	if s.Version != Version {
		return nil, fmt.Errorf("%s in %s is of version %q, this program reads %s", summaryFile, dir, s.Version, Version)
	}
	return &s, nil
}

// encodable returns a report of which each entry can be JSON: one that cannot, such as
// NaN, would cost the whole file. In its place comes what a person would read.
func encodable(r types.Report) types.Report {
	r.SpecReports = slices.Clone(r.SpecReports)
	for i := range r.SpecReports {
		entries := slices.Clone(r.SpecReports[i].ReportEntries)
		for j, e := range entries {
			if _, err := json.Marshal(e.Value); err != nil {
				entries[j].Value = types.WrapEntryValue(e.StringRepresentation())
			}
		}
		r.SpecReports[i].ReportEntries = entries
	}
	return r
}

// filled returns a copy whose lists are empty rather than null.
func (s *Summary) filled() *Summary {
	c := *s
	c.Images = append([]Image{}, s.Images...)
	c.Phases = append([]Phase{}, s.Phases...)
	c.Scenarios = append([]Scenario{}, s.Scenarios...)
	return &c
}

// outcome tells in one line what was measured.
func (c Criterion) outcome() string {
	if c.Measured == nil {
		return c.Detail
	}
	return strings.TrimSpace(fmt.Sprintf("expected %s %s, measured %s %s. %s", c.Expected, c.Unit, value(*c.Measured, c.Never), c.Unit, c.Detail))
}

// value writes what was measured. What never came took longer than the wait.
func value(measured float64, never bool) string {
	if never {
		return "> " + number(measured)
	}
	return number(measured)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// Table prints the summary for a person.
func Table(w io.Writer, s *Summary, dir string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if s.Control != "" {
		fmt.Fprintf(w, "\n%s\n", s.Headline())
	}
	fmt.Fprintf(t, "\nCRITERION\tVERDICT\tEXPECTED\tMEASURED\tUNIT\tSCENARIO\n")
	var notes []string
	of := map[string][]string{} // a note and the criteria that share it
	for _, sc := range s.Scenarios {
		for _, c := range sc.Criteria {
			measured := "-"
			if c.Measured != nil {
				measured = value(*c.Measured, c.Never)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.Verdict, orElse(c.Expected, "-"), measured, orElse(c.Unit, "-"), sc.Name)
			if c.Detail == "" {
				continue
			}
			note := fmt.Sprintf("%s: %s", c.Verdict, c.Detail)
			if of[note] == nil {
				notes = append(notes, note)
			}
			of[note] = append(of[note], c.ID)
		}
	}
	for _, sc := range s.Scenarios {
		if sc.Aborted != nil {
			notes = append(notes, fmt.Sprintf("scenario %s was aborted: %v", sc.Name, sc.Aborted))
		}
	}
	for _, what := range s.Cleanup {
		notes = append(notes, "cleanup failed: "+what)
	}
	if len(s.Phases) > 0 {
		fmt.Fprintf(t, "\nPHASE\tSECONDS\n")
		for _, p := range s.Phases {
			fmt.Fprintf(t, "%s\t%.1f\n", p.Name, p.Seconds)
		}
		fmt.Fprintf(t, "whole run\t%.1f\n", s.WallSeconds)
	}
	if len(s.Images) > 0 {
		fmt.Fprintf(t, "\nIMAGE\tSOURCE\tDIGEST\n")
		for _, i := range s.Images {
			fmt.Fprintf(t, "%s\t%s\t%s\n", i.Name, i.Source, i.Digest)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range notes {
		if _, err := fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(strings.Join(of[n], " ")+" "+n)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\nartifacts: %s\n", dir)
	return err
}

// ThisMachine describes the machine that the suite runs on.
func ThisMachine() (Machine, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return Machine{}, fmt.Errorf("sysinfo: %w", err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Machine{}, fmt.Errorf("uname: %w", err)
	}
	return Machine{Cores: runtime.NumCPU(), Memory: uint64(info.Totalram) * uint64(info.Unit), Kernel: unix.ByteSliceToString(u.Release[:])}, nil
}
