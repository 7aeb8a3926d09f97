package image

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKubernetesVersion(t *testing.T) {
	for value, want := range map[string]struct {
		node string
		err  error
	}{
		"":                {node: published.node.pull},
		KubernetesVersion: {node: published.node.pull},
		"v1.35.0":         {node: "kindest/node:v1.35.0"},
		"latest":          {err: ErrVersion},
		"1.35":            {err: ErrVersion},
	} {
		t.Setenv(versionVariable, value)
		s, err := Open("../../..", nil, nil, io.Discard)
		if !errors.Is(err, want.err) {
			t.Errorf("%q: error %v, want %v", value, err, want.err)
		}
		if err == nil && s.registry.node.pull != want.node {
			t.Errorf("%q: node image %s, want %s", value, s.registry.node.pull, want.node)
		}
	}
}

func TestNodeHashFollowsTheRecipes(t *testing.T) {
	s := &Store{project: "../../.."}
	one, err := s.nodeHash()
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.nodeHash()
	if err != nil || one != two {
		t.Errorf("the hash of the same recipes differs: %s, %s (%v)", one, two, err)
	}
}

// TestWhatIsPublishedIsWhatEveryClusterNeeds: who pulls the project's images is not asked for one of a cluster that is made here.
func TestWhatIsPublishedIsWhatEveryClusterNeeds(t *testing.T) {
	if want := []string{Mesh, Chaos, Probe}; !slices.Equal(own, want) {
		t.Errorf("published are %q, want %q", own, want)
	}
	b, err := os.ReadFile("../../../manifests/volumes/volumes.yaml")
	if err != nil || !strings.Contains(string(b), "image: "+volumes.name+"\n") {
		t.Errorf("%s is not what is deployed: %v", volumes.name, err)
	}
}

func TestOnlyArchivesThatNobodyAsksForAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{
		"probe-new.tar": 0, "probe-other.tar": 23 * time.Hour, "probe-old.tar": 25 * time.Hour, "meshnode-old.tar": 25 * time.Hour,
	} {
		path, at := filepath.Join(dir, name), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeSuperseded(dir, "probe"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"meshnode-old.tar", "probe-new.tar", "probe-other.tar"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}
