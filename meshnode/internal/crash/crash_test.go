package crash

import (
	"errors"
	"testing"
)

func TestContain(t *testing.T) {
	if err := Contain(func() error { return nil }); err != nil {
		t.Error(err)
	}
	want := errors.New("x")
	if err := Contain(func() error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
	err := Contain(func() error { panic(want) })
	if c, ok := errors.AsType[*Error](err); !ok || c.Value == nil || len(c.Stack) == 0 {
		t.Errorf("a panic is %v", err)
	}
}
