#!/usr/bin/env bash
# Chaos Mesh fakes a clock by a jump at the beginning of a function in a process's vDSO, and
# takes it back by writing the whole function as it was. It writes words of 8 bytes, and fills the
# last one with zeros: what is behind a function whose size is no multiple of 8 is lost. Here that
# is padding between two functions, and the clock is right again. But the vDSO is not what it was, so
# that who compares it with the kernel's to see whether a fault is over never sees it end.
#
# Exit 0: still so. Exit 1: it has changed. Needs the go command, a C compiler, a module proxy, and
# the right to trace a process of one's own. On a kernel whose clock_gettime ends at a word
# there is nothing to see, which it says (exit 0).
set -euo pipefail
mesh=github.com/chaos-mesh/chaos-mesh@v0.9.1-0.20260902003049-47411975a8cb
api=github.com/chaos-mesh/chaos-mesh/api@v0.0.0-20260906172039-d70b66ad97ac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod init finding >/dev/null 2>&1
go mod edit -require "$mesh" -replace "github.com/chaos-mesh/chaos-mesh/api=$api"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"

	"github.com/go-logr/logr"

	"github.com/chaos-mesh/chaos-mesh/pkg/ptrace"
	"github.com/chaos-mesh/chaos-mesh/pkg/time"
)

func main() {
	runtime.LockOSThread()
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		log.Fatal(err)
	}
	defer child.Process.Kill()
	p, err := ptrace.Trace(child.Process.Pid, logr.Discard())
	if err != nil {
		log.Fatal(err)
	}
	vdso, err := time.FindVDSOEntry(p)
	if err != nil {
		log.Fatal(err)
	}
	addr, size, err := p.FindSymbolInEntry("clock_gettime", vdso)
	if err != nil {
		log.Fatal(err)
	}
	before, err := p.GetLibBuffer(vdso)
	if err != nil {
		log.Fatal(err)
	}
	code, err := p.ReadSlice(addr, size)
	if err != nil {
		log.Fatal(err)
	}
	if err := p.PtraceWriteSlice(addr, *code); err != nil { // as recovery does
		log.Fatal(err)
	}
	after, err := p.GetLibBuffer(vdso)
	if err != nil {
		log.Fatal(err)
	}
	changed := 0
	for i := range *before {
		if (*before)[i] != (*after)[i] {
			changed++
		}
	}
	fmt.Fprintf(os.Stdout, "size %d, changed %d\n", size, changed)
}
GO
go mod tidy >/dev/null 2>&1
out=$(go run .)
echo "version:   $mesh, Linux $(uname -r)"
echo "behaviour: clock_gettime written back as it was read: $out bytes of the vDSO"
read -r _ size _ changed <<<"${out/,/}"
if [ "$changed" -gt 0 ]; then
  exit 0
fi
if [ $((size % 8)) = 0 ]; then
  echo "nothing to see on this kernel"
  exit 0
fi
echo "changed: what is behind the function stays" >&2
exit 1
