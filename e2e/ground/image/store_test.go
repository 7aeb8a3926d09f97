package image

import (
	"errors"
	"io"
	"testing"
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
