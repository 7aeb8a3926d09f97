package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestLockNamesItsHolder(t *testing.T) {
	ownDirs(t)
	lock, err := Acquire("test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire("test")
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second Acquire: %v, want ErrBusy with this process's id", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := Acquire("test")
	if err != nil {
		t.Fatalf("Acquire after Release: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}

// Two runs under different TMPDIR and HOME meet all the same.
func TestLockIsOneWhateverTheEnvironmentSays(t *testing.T) {
	ownDirs(t)
	lock, err := Acquire("test")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for _, v := range []string{"TMPDIR", "HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"} {
		t.Setenv(v, t.TempDir())
	}
	if again, err := Acquire("test"); !errors.Is(err, ErrBusy) {
		t.Errorf("a second holder: %+v, %v, want ErrBusy", again, err)
	}
	if err := Free("other", "test"); !errors.Is(err, ErrBusy) {
		t.Errorf("Free: %v, want ErrBusy", err)
	}
	if err := Free("other"); err != nil {
		t.Errorf("Free of a lock that nobody holds: %v", err)
	}
}

func TestLockDirectoryOfSomebodyElseIsRefused(t *testing.T) {
	for name, occupy := range map[string]func(dir string) error{
		"a link":              func(dir string) error { return os.Symlink(os.TempDir(), dir) },
		"a file":              func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"everybody may write": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) },
		"another user's":      func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 65534, 65534)) },
		"a link inside, to be": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Symlink("/dev/null", filepath.Join(dir, "test")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "another user's" && os.Geteuid() != 0 {
				t.Skip("giving a directory away needs root")
			}
			ownDirs(t)
			if err := occupy(locksDir); err != nil {
				t.Fatal(err)
			}
			if _, err := Acquire("test"); err == nil || errors.Is(err, ErrBusy) {
				t.Errorf("Acquire = %v, want a refusal that names the directory", err)
			}
		})
	}
}

func TestDefaultLocksAreNotBelowTemporaryFiles(t *testing.T) {
	if strings.HasPrefix(defaultLocks, os.TempDir()) || !strings.HasPrefix(defaultLocks, "/run/") {
		t.Errorf("locks are in %s", defaultLocks)
	}
}
