package netem

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestServer(t *testing.T) {
	const (
		lo     = "qdisc noqueue 0: dev lo root refcnt 2 \n"
		plain  = "qdisc noqueue 0: dev eth0 root refcnt 2 \n"
		delay  = "qdisc netem 1: dev eth0 root refcnt 2 limit 1000 delay 200ms  50ms 50%\n"
		served = `{"served":"userspace","device":"eth0","handle":"1:","options":"limit 1000 delay 200ms  50ms 50%","pid":7,"since":"2026-01-02T03:04:05Z"}` + "\n"
		files  = "== files\n"
		end    = "== end\n"
	)
	for name, c := range map[string]struct{ out, want string }{
		"no netem":                     {lo + plain + files + end, Nobody},
		"the kernel's":                 {lo + delay + files + end, Kernel},
		"the stand-in's":               {lo + delay + files + served + end, Userspace},
		"what a killed one left":       {lo + plain + files + served + end, Nobody},
		"what one that failed left":    {lo + delay + files + strings.Replace(served, "}", `,"error":"x"}`, 1) + end, Kernel},
		"another device's":             {lo + delay + files + strings.Replace(served, "eth0", "eth1", 1) + end, Kernel},
		"a broken file is an error":    {lo + delay + files + "{\n" + end, ""},
		"a short answer is an error":   {lo + delay + files + served, ""},
		"no qdiscs at all is an error": {files + end, ""},
		"no answer is an error":        {"", ""},
	} {
		got, err := Server(c.out)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

// TestServerScript runs the script as the daemon does on a pod's node.
func TestServerScript(t *testing.T) {
	const uid = "0dd0ba5e-0000-4000-8000-00000000beef"
	a, _ := pair(t)
	for _, tool := range []string{"nsenter", "sleep"} {
		if _, err := exec.LookPath(tool); err != nil {
			unable(t, "needs "+tool)
		}
	}
	cgroup := "/sys/fs/cgroup/pids" // v1
	if _, err := os.Stat(cgroup); err != nil {
		cgroup = "/sys/fs/cgroup"
	}
	cgroup = filepath.Join(cgroup, "pod"+uid)
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		unable(t, "needs a cgroup of its own: "+err.Error())
	}
	process := exec.Command("sleep", "600")
	a.do(t, process.Start)
	t.Cleanup(func() {
		if err := process.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = process.Wait() // it was killed
		if err := os.Remove(cgroup); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(process.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	// The stand-in is first in the PATH, as in the daemon's image.
	t.Setenv("PATH", filepath.Dir(standIn)+":"+os.Getenv("PATH"))
	expect := func(want string) {
		t.Helper()
		out, err := exec.Command("sh", "-c", ServerScript, "look", uid).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got, err := Server(string(out)); got != want || err != nil {
			t.Errorf("got %q, %v, want %s", got, err, want)
		}
	}
	expect(Nobody)
	s := a.serve(t, "delay 200ms")
	expect(Userspace)
	kill(t, s.PID)
	expect(Nobody)
	a.serve(t, "delay 200ms")
	expect(Userspace)
	a.remove(t)
	expect(Nobody)
}
