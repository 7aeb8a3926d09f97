//go:build !race || go1.27

package bubble

func alone() (end func()) { return func() {} }
