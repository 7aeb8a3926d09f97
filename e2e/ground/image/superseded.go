package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// supersededAfter is how long an archive stays that nobody has asked for: a run from another checkout, which has it, may
// be about to load it.
const supersededAfter = 24 * time.Hour

// removeSuperseded removes the archives of a command that are older.
func removeSuperseded(dir, command string) error {
	archives, err := filepath.Glob(filepath.Join(dir, command+"-*.tar"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		info, err := os.Stat(a)
		if err == nil && time.Since(info.ModTime()) > supersededAfter {
			err = os.Remove(a)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another checkout's build may remove it, too
			return err
		}
	}
	return nil
}
