package iofault

import (
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFDInfo(t *testing.T) {
	got, err := parseFDInfo("pos:\t42\nflags:\t02100002\nmnt_id:\t29\nino:\t9\nlock:\t1: FLOCK  ADVISORY  WRITE 7 00:1e:345 0 EOF\nlock:\t2: POSIX  ADVISORY  READ 7 00:1e:345 100 149\n")
	want := fdInfo{mount: 29, position: 42, flags: unix.O_CLOEXEC | 0o100002, locks: []lock{
		{kind: lockFile, write: true, end: -1}, {kind: lockRecord, start: 100, end: 149},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"pos:\tx\n", "flags:\t9\n", "mnt_id:\t-1\n", "lock:\t1: FLOCK\n", "lock:\t1: POSIX ADVISORY READ 7 00:1e:3 a 9\n"} {
		if _, err := parseFDInfo(bad); err == nil {
			t.Errorf("%q is read without an error", bad)
		}
	}
}

func TestMapping(t *testing.T) {
	got, err := parseMapping(`7f0000001000-7f0000003000 rw-s 00002000 fe:00 12345                      /v/a file\012x`)
	want := mapping{start: 0x7f0000001000, end: 0x7f0000003000, offset: 0x2000, prot: unix.PROT_READ | unix.PROT_WRITE, shared: true, path: "/v/a file\nx"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v, want %+v", got, err, want)
	}
	if got, err := parseMapping("7f0000001000-7f0000003000 r-xp 00000000 00:00 0 "); err != nil || got.path != "" || got.shared || got.prot != unix.PROT_READ|unix.PROT_EXEC {
		t.Errorf("read %+v, %v", got, err)
	}
	for _, bad := range []string{"7f00 r", "x-y r--p 0 0:0 0"} {
		if _, err := parseMapping(bad); err == nil {
			t.Errorf("%q is read without an error", bad)
		}
	}
}

const bare = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 254:0 /x /var/lib/mesh\040data rw,relatime - ext4 /dev/vda rw
`

func TestMounts(t *testing.T) {
	got, err := parseMounts(bare)
	want := []mount{{22, "/", "ext4", "/dev/vda"}, {40, "/var/lib/mesh data", "ext4", "/dev/vda"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseMounts("22 1 254:0 / /\n"); err == nil {
		t.Error("a line that is cut short is read without an error")
	}
}

func TestServer(t *testing.T) {
	const end = "== end\n"
	layer := "99 40 0:50 / /var/lib/mesh\\040data rw - fuse.iofault x0tta6bl4-iofault rw\n"
	toda := "99 40 0:50 / /var/lib/mesh\\040data rw - fuse toda rw\n"
	for name, c := range map[string]struct {
		out, want string
		fails     bool
	}{
		"nobody": {out: bare + end, want: Nobody}, "the stand-in": {out: bare + layer + end, want: StandIn},
		"toda": {out: bare + toda + bare + end, want: Toda}, "cut short": {out: bare + layer, fails: true},
		"nothing": {out: end, fails: true}, "nonsense": {out: "nsenter: no\n" + end, fails: true},
	} {
		if got, err := Server(c.out); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestOptions(t *testing.T) {
	// As the daemon splits them.
	got, err := parseOptions(strings.Split("--path /v --verbose info", " "), io.Discard)
	if want := (options{path: "/v", verbose: slog.LevelInfo}); err != nil || got != want {
		t.Errorf("read %+v, %v", got, err)
	}
	if got, err := parseOptions([]string{"--path", "/v", "--power", "--verbose", "trace"}, io.Discard); err != nil || !got.power || got.verbose != slog.LevelDebug {
		t.Errorf("read %+v, %v", got, err)
	}
	for _, bad := range [][]string{nil, {"--path", "/v", "x"}, {"--path", "/v", "--verbose", "loud"}, {"--what"}} {
		if _, err := parseOptions(bad, io.Discard); err == nil {
			t.Errorf("%q is read without an error", bad)
		}
	}
}
