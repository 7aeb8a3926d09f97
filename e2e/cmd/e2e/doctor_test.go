package main

import (
	"strings"
	"testing"
)

func TestAFullDiskIsTold(t *testing.T) {
	var out strings.Builder
	code, err := (&session{project: "/proc"}).machine(&out) // a file system without room
	if code != exitUsage || err != nil || !strings.Contains(out.String(), "fatal  this machine lacks something: /proc has 0.0 GB free") {
		t.Errorf("exit code %d, %v:\n%s", code, err, out.String())
	}
}
