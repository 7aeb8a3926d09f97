package crash

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Record runs a command under strace and returns what it did to the files below dir,
// and what it said: each write of a line to its standard output is a Call of kind say.
func Record(ctx context.Context, dir string, cmd *exec.Cmd) ([]Call, error) {
	path, err := exec.LookPath("strace")
	if err != nil {
		return nil, errors.New("strace is missing: install the distribution's package strace")
	}
	log := filepath.Join(dir, "strace.log")
	traced := exec.CommandContext(ctx, path, append([]string{"-f", "-qq", "-y", "-xx", "-s", "1000000", "-e", "signal=none",
		"-e", "trace=openat,write,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,msync,rename,renameat,renameat2,unlink,unlinkat,link,linkat,copy_file_range,sendfile",
		"-o", log, "--"}, cmd.Args...)...)
	traced.Env, traced.Dir = cmd.Env, cmd.Dir
	var out bytes.Buffer
	traced.Stdout, traced.Stderr = &out, &out
	if err := traced.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd, err, out.String())
	}
	f, err := os.Open(log)
	if err != nil {
		return nil, err
	}
	calls, err := parse(f, dir)
	return calls, errors.Join(err, f.Close())
}

var (
	line       = regexp.MustCompile(`^(\d+) +(.*)$`)
	unfinished = regexp.MustCompile(`^(.*) <unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^<\.\.\. \w+ resumed>(.*)$`)
	call       = regexp.MustCompile(`^(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?`)
	file       = regexp.MustCompile(`^(\d+)<([^>]*)>`)
	text       = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
)

// parse reads strace's log. A call that changes files below dir in a way that it does not
// know is an error: what is not enumerated must not be claimed.
func parse(f *os.File, dir string) ([]Call, error) {
	var calls []Call
	open := map[string]string{} // by thread: the beginning of a call
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		m := line.FindStringSubmatch(sc.Text())
		if m == nil {
			return nil, fmt.Errorf("strace says %.200q", sc.Text())
		}
		what := m[2]
		if u := unfinished.FindStringSubmatch(what); u != nil {
			open[m[1]] = u[1]
			continue
		}
		if r := resumed.FindStringSubmatch(what); r != nil {
			what = open[m[1]] + r[1]
			delete(open, m[1])
		}
		c := call.FindStringSubmatch(what)
		if c == nil || strings.HasPrefix(c[3], "-") {
			continue // an exit, or a call that failed and changed nothing
		}
		one, err := decode(c[1], c[2], unhex(c[4]), dir)
		if err != nil {
			return nil, fmt.Errorf("%w: %.300q", err, what)
		}
		if one.Kind != "" {
			calls = append(calls, one)
		}
	}
	return calls, sc.Err()
}

func decode(name, args, result, dir string) (Call, error) {
	var path string
	fd := ""
	if m := file.FindStringSubmatch(args); m != nil {
		fd, path = m[1], unhex(m[2])
	}
	var texts []string
	for _, m := range text.FindAllStringSubmatch(args, -1) {
		texts = append(texts, unhex(m[1]))
	}
	last := args[strings.LastIndex(args, " ")+1:]
	below := func(p string) bool { return strings.HasPrefix(p, dir+"/") }
	switch {
	case name == "write" && fd == "1":
		return Call{Kind: "say", Data: []byte(texts[0])}, nil
	case name == "openat":
		if !below(result) || !strings.Contains(args, "O_CREAT") && !strings.Contains(args, "O_TRUNC") {
			return Call{}, nil
		}
		if strings.Contains(args, "O_TRUNC") {
			return Call{Kind: "truncate", Path: result}, nil
		}
		return Call{Kind: "open", Path: result}, nil
	case strings.HasPrefix(name, "rename"):
		if len(texts) == 2 && (below(texts[0]) || below(texts[1])) {
			return Call{Kind: "rename", Path: texts[0], To: texts[1]}, nil
		}
		return Call{}, nil
	case !below(path) && !strings.HasPrefix(name, "unlink") && !strings.HasPrefix(name, "link"):
		return Call{}, nil
	case name == "pwrite64":
		at, err := strconv.ParseInt(last, 10, 64)
		return Call{Kind: "write", Path: path, At: at, Data: []byte(texts[0])}, err
	case name == "ftruncate":
		at, err := strconv.ParseInt(last, 10, 64)
		return Call{Kind: "truncate", Path: path, At: at}, err
	case name == "fsync" || name == "fdatasync":
		return Call{Kind: "flush", Path: path}, nil
	}
	return Call{}, fmt.Errorf("a call that this package does not know")
}

// unhex decodes strace's \x notation.
func unhex(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			v, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err == nil {
				b.WriteByte(byte(v))
				i += 4
				continue
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}
