// Package certify writes and checks certificates. A certificate is a file that says
// what a test has gone through in full, not by samples: the space, how many cases it
// has, what held in all of them, and the sources that this is true of.
//
// A certificate is stale when those sources are no longer the ones that are here: the
// packages that the test depends on, the test itself, the modules and the Go version.
// What is stale may well hold, but nobody has looked.
package certify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Env is the variable that makes a test go through its whole space and write its
// certificate; without it, it goes through a small part.
const Env = "MESH_CERTIFY"

// Full reports whether the whole space is asked for.
func Full() bool { return os.Getenv(Env) != "" }

// Certificate is the file.
type Certificate struct {
	Name  string `json:"name"`
	Claim string `json:"claim"`
	// Commit is what the working tree was based on, "+" after it if it was changed.
	Commit string `json:"commit"`
	// Space says what was gone through, Parts how much of it.
	Space string `json:"space"`
	Parts []Part `json:"parts"`
	// Worst are the cases that came closest to a bar.
	Worst []Worst `json:"worst,omitempty"`
	// Packages are what was tested, Tests the files of theirs that tested it.
	Packages []string `json:"packages"`
	Tests    []string `json:"tests"`
	// Sources is the SHA-256 of Packages, all that they depend on, and Tests.
	Sources string `json:"sources"`
	// Digest is a SHA-256 of the cases and their verdicts: it is the same when all is
	// gone through again.
	Digest string `json:"digest"`
}

// Part is a part of a space. All of its counts are of cases in which everything held.
type Part struct {
	Name   string         `json:"name"`
	Counts map[string]int `json:"counts"`
}

// Worst is the case with the largest value of a kind.
type Worst struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Bar   string `json:"bar"`
	Case  string `json:"case"`
}

// Begin notes commit and sources. It is to be called before anything is gone through.
func (c Certificate) Begin() (Certificate, error) {
	var err error
	if c.Commit, err = commit(); err != nil {
		return c, err
	}
	c.Sources, err = Sources(c.Packages, c.Tests)
	return c, err
}

// Write writes a certificate that Begin has made into dir. If the sources have changed
// since, nobody knows what was gone through, and it is ErrStale.
func (c Certificate) Write(dir string) error {
	if err := c.Check(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, c.Name+".json"), append(b, '\n'), 0o644))
}

// Read reads a certificate.
func Read(path string) (Certificate, error) {
	var c Certificate
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("certificate %s: %w", path, err)
	}
	return c, nil
}

// ErrStale says that the sources have changed since a certificate was made.
var ErrStale = errors.New("stale")

// Check returns ErrStale if the sources here are not those of the certificate.
func (c Certificate) Check() error {
	now, err := Sources(c.Packages, c.Tests)
	if err != nil {
		return err
	}
	if now != c.Sources {
		return fmt.Errorf("certificate %s of %s is %w: what it is about has changed; make it again with `make certify-%s`", c.Name, c.Commit, ErrStale, c.Name)
	}
	return nil
}

// Sources returns the SHA-256 of all that packages of this module depend on: the
// files of the module's own packages, the versions of other modules, Go's version; and of
// the test files of the packages whose names match.
func Sources(packages, tests []string) (string, error) {
	version, err := run("go", "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	list, err := run("go", append([]string{"list", "-deps", "-test", "-json=ImportPath,Dir,ForTest,Standard,Module,GoFiles,EmbedFiles,TestGoFiles"}, packages...)...)
	if err != nil {
		return "", err
	}
	lines := []string{"go " + strings.TrimSpace(string(version))}
	for dec := json.NewDecoder(bytes.NewReader(list)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", fmt.Errorf("go list: %w", err)
		}
		own, err := p.lines(packages, tests)
		if err != nil {
			return "", err
		}
		lines = append(lines, own...)
	}
	slices.Sort(lines)
	h := sha256.Sum256([]byte(strings.Join(slices.Compact(lines), "\n")))
	return hex.EncodeToString(h[:]), nil
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, ForTest string
	Standard                 bool
	Module                   *struct {
		Path, Version string
		Main          bool
	}
	GoFiles, EmbedFiles, TestGoFiles []string
}

// lines names what belongs to a certificate's sources, with its version or digest.
func (p *listed) lines(packages, tests []string) ([]string, error) {
	if p.Standard || p.Module == nil || p.ForTest != "" || strings.HasSuffix(p.ImportPath, ".test") {
		return nil, nil
	}
	if !p.Module.Main {
		return []string{"module " + p.Module.Path + " " + p.Module.Version}, nil
	}
	files := slices.Concat(p.GoFiles, p.EmbedFiles)
	if slices.Contains(packages, p.ImportPath) {
		for _, f := range p.TestGoFiles {
			if matches(tests, f) {
				files = append(files, f)
			}
		}
	}
	var lines []string
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(p.Dir, f))
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("file %s/%s %x", p.ImportPath, f, sha256.Sum256(b)))
	}
	return lines, nil
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := filepath.Match(p, name)
		return err == nil && ok
	})
}

// commit is the commit of the working tree, with "+" if files of it have changed.
func commit() (string, error) {
	head, err := run("git", "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "", err
	}
	changed, err := run("git", "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return "", err
	}
	mark := ""
	if len(changed) > 0 {
		mark = "+"
	}
	return strings.TrimSpace(string(head)) + mark, nil
}

func run(name string, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[0], err, stderr.String())
	}
	return out, nil
}
