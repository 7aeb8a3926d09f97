package image

import (
	"bufio"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// clocks makes the module with fake clocks.
func clocks(t *testing.T) (dir, modfile string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		skip(t, "needs gcc: make deps")
	}
	project, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	modfile, err = (&Store{project: project, log: io.Discard}).withClocks(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, modfile
}

// TestFakeClocksCanBeInjected checks what Chaos Mesh's LoadFakeImageFromEmbedFs takes for granted: it
// jumps to the first byte of the text, and gives each relocation a variable of its own
// at a distance of 32 bits.
func TestFakeClocksCanBeInjected(t *testing.T) {
	dir, _ := clocks(t)
	for name, variables := range map[string][]string{
		"fake_clock_gettime": {"CLOCK_IDS_MASK", "TV_NSEC_DELTA", "TV_SEC_DELTA"},
		"fake_gettimeofday":  {"TV_NSEC_DELTA", "TV_SEC_DELTA"},
	} {
		f, err := elf.Open(filepath.Join(dir, "chaos-mesh/pkg/time/fakeclock", name+".o"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		symbols, err := f.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == name })
		if i < 0 || symbols[i].Value != 0 || f.Sections[symbols[i].Section].Name != ".text" {
			t.Errorf("%s is not the start of the text", name)
		}
		relocations, err := f.Section(".rela.text").Data()
		if err != nil {
			t.Fatal(err)
		}
		var of []string
		for ; len(relocations) >= 24; relocations = relocations[24:] { // elf.Rela64
			info := f.ByteOrder.Uint64(relocations[8:])
			if kind := elf.R_X86_64(uint32(info)); kind != elf.R_X86_64_PC32 {
				t.Errorf("%s: a relocation of type %v", name, kind)
			}
			of = append(of, symbols[info>>32-1].Name)
		}
		if slices.Sort(of); !slices.Equal(of, variables) {
			t.Errorf("%s has relocations of %v, want each of %v once", name, of, variables)
		}
	}
}

func TestDaemonEmbedsFakeClocks(t *testing.T) {
	_, modfile := clocks(t)
	list := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", append(append([]string{"list", "-mod=readonly"}, args...), "-f", "{{.EmbedFiles}}", chaosMesh+"/pkg/time")...)
		cmd.Dir, cmd.Env = filepath.Join("../../..", imagesModule), append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, out)
		}
		return string(out)
	}
	with := list("-modfile=" + modfile)
	for _, name := range fakeClocks {
		if !strings.Contains(with, "fakeclock/"+name+".o") {
			t.Errorf("%s is not embedded: %s", name, with)
		}
	}
	if without := list(); strings.Contains(without, fakeClocks[0]) {
		t.Errorf("the module itself has them by now, and needs no copy: %s", without)
	}
}

// skew is a program that skews the clock of a process as the daemon does, until it is told to recover.
const skew = `package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/go-logr/logr"

	"github.com/chaos-mesh/chaos-mesh/pkg/chaosdaemon/tasks"
	"github.com/chaos-mesh/chaos-mesh/pkg/time"
)

func main() {
	skew, err := time.GetSkew(logr.Discard(), time.NewConfig(-3000, 0, 1))
	pid, _ := strconv.Atoi(os.Args[1])
	if err == nil {
		err = skew.Inject(tasks.SysPID(pid))
	}
	fmt.Println(err)
	fmt.Scanln()
	fmt.Println(skew.Recover(tasks.SysPID(pid)))
}
`

// TestFakeClocksSkewAProcess puts the clock of a real Go process back, and right again.
func TestFakeClocksSkewAProcess(t *testing.T) {
	if out := os.Getenv("IMAGE_TEST_CLOCK"); out != "" {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			fmt.Println("now", time.Now().Unix())
		}
		return
	}
	if os.Getenv("MESH_TEST_LONG") != "1" {
		t.Skip("builds a part of Chaos Mesh: MESH_TEST_LONG=1")
	}
	dir, modfile := clocks(t)
	command := filepath.Join(dir, "chaos-mesh/cmd/skew")
	if err := os.MkdirAll(command, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(command, "main.go"), []byte(skew), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-mod=readonly", "-modfile="+modfile, "-o", filepath.Join(dir, "skew"), chaosMesh+"/cmd/skew")
	build.Dir, build.Env = filepath.Join("../../..", imagesModule), append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	target := talk(t, []string{"IMAGE_TEST_CLOCK=1"}, "/proc/self/exe", "-test.run=TestFakeClocksSkewAProcess")
	offset := func() time.Duration {
		var now int64
		if _, err := fmt.Sscanf(target.ask("\n"), "now %d", &now); err != nil {
			t.Fatal(err)
		}
		return time.Until(time.Unix(now, 0)).Round(10 * time.Second)
	}
	if got := offset(); got != 0 {
		t.Fatalf("before it is skewed the clock is %v off", got)
	}
	injector := talk(t, nil, filepath.Join(dir, "skew"), fmt.Sprint(target.pid))
	if line := injector.ask(""); line != "<nil>" {
		t.Fatal(line)
	}
	if got, want := offset(), -50*time.Minute; got != want {
		t.Errorf("the clock is %v off, want %v", got, want)
	}
	if line := injector.ask("\n"); line != "<nil>" {
		t.Fatal(line)
	}
	if got := offset(); got != 0 {
		t.Errorf("after recovery the clock is %v off", got)
	}
}

// talker is a process that is told lines and answers each.
type talker struct {
	pid int
	ask func(line string) string
}

func talk(t *testing.T, env []string, command string, args ...string) talker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	lines := bufio.NewScanner(out)
	return talker{cmd.Process.Pid, func(line string) string {
		t.Helper()
		if _, err := io.WriteString(in, line); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("%s says nothing: %v", command, lines.Err())
		}
		return lines.Text()
	}}
}
