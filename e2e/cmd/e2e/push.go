package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
)

// push builds the project's own images, for which no engine is needed, and brings them to a registry.
func push(ctx context.Context, args []string) (int, error) {
	if len(args) != 1 || args[0] == "" {
		return exitUsage, errors.New("say where to: make push REGISTRY=host/prefix")
	}
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	lock, err := engine.Acquire("images")
	if err != nil {
		return s.code(err)
	}
	defer lock.Release()
	store, err := image.Open(s.project, nil, s.progress, s.log)
	if err != nil {
		return s.code(err)
	}
	published, err := store.Push(ctx, args[0])
	if err != nil {
		return s.code(err)
	}
	for _, ref := range published.Refs() {
		fmt.Println(ref)
	}
	return 0, nil
}
