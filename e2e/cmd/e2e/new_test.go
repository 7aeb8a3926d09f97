package main

import (
	"strings"
	"testing"
)

// made are the files of a scenario that make e2e-new writes; that they compile, and are a
// scenario of the registry, is seen with those of TestAScenarioIsTwoFiles.
func made(t *testing.T, name string) map[string][]byte {
	t.Helper()
	all, err := scenarioFiles(name)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range all {
		files[f.path] = f.content
	}
	return files
}

func TestNewScenario(t *testing.T) {
	files := made(t, "slow-disk")
	spec, fixture := string(files["e2e/slow_disk_test.go"]), string(files["fixtures/slow-disk.yaml"])
	if !strings.Contains(spec, "\n\tName: \"slow-disk\",") { // as the Makefile reads it
		t.Errorf("the spec is not of the scenario: %s", spec)
	}
	if !strings.Contains(spec, `verdict.Must(verdict.Shortf("not judged yet"))`) {
		t.Errorf("the spec does not fail: %s", spec)
	}
	if !strings.Contains(fixture, "kind: NetworkChaos") || !strings.Contains(fixture, "name: mesh-slow-disk") {
		t.Errorf("the fixture is %s", fixture)
	}
	if !strings.Contains(spec, ", scenario.Reacts(), func(") {
		t.Errorf("the spec does not say what its criterion claims: %s", spec)
	}
	for _, step := range []string{"what each claims", "go generate ./e2e", "make e2e-slow-disk"} {
		if hint := next("slow-disk"); !strings.Contains(hint, step) {
			t.Errorf("nobody is told of %s: %s", step, hint)
		}
	}
	for _, name := range []string{"disk-windows", "disk-arm64"} {
		if _, err := scenarioFiles(name); err == nil || !strings.Contains(err.Error(), "take another") {
			t.Errorf("%s, which Go builds for one system only: %v", name, err)
		}
	}
	for _, args := range [][]string{nil, {""}, {"Slow"}, {"slow_disk"}, {"../slow"}, {"a", "b"}} {
		if code, err := newScenario(t.Context(), args); code != exitUsage || err == nil {
			t.Errorf("%q: exit code %d, %v", args, code, err)
		}
	}
	if code, err := newScenario(t.Context(), []string{"latency"}); code != exitUsage || err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a name that is taken: exit code %d, %v", code, err)
	}
}
